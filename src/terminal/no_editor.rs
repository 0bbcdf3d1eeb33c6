//! In the place of the line editor, where the program is built without it: there is none.

use std::convert::Infallible;
use std::path::PathBuf;

use crate::screen::{Conversation, OnTyped, Said};

/// There is none.
pub(crate) struct Editor(Infallible);

impl Editor {
    /// Never.
    pub(crate) fn start(
        _: Conversation,
        _: OnTyped,
        _: Option<PathBuf>,
        _: bool,
        _: Box<dyn Fn(&Said) -> String + Send>,
    ) -> Option<Editor> {
        None
    }

    /// Never called.
    pub(crate) fn show(&self, _: String) {
        match self.0 {}
    }

    /// Never called.
    pub(crate) fn show_progress(&self, _: impl Fn(usize) -> String) {
        match self.0 {}
    }

    /// Never called.
    pub(crate) fn show_connection(&self, _: &'static str) {
        match self.0 {}
    }

    /// Never called.
    pub(crate) fn end(&self) {
        match self.0 {}
    }
}
