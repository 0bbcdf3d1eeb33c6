//! The pages that are open, and what they show.
//!
//! A message between the program and a page is a text of lines: the kind, then its fields. Fields of the program have no line ends and no
//! other control characters, because [`message`] writes them out as the terminal does. So the script splits a message and sets each field as
//! text. The table is the whole language.
//!
//! A time is in seconds since 1970.
//!
//! | program to page | fields |
//! | --- | --- |
//! | `reset` | |
//! | `form` | values of the form, `FIELD=VALUE` each |
//! | `found` | servers on the network, as `fernchat find` lists them |
//! | `unfound` | why the network cannot be searched |
//! | `error` | which field, what is wrong |
//! | `room` | its name, the person's name, then the commands that can be typed |
//! | `state` | `connecting`, `waiting`, `connected`, `lost` or `ended`; the seconds to the next try |
//! | `online`, `requests` | the admin or nothing, then who is here, or who asked to join |
//! | `requested` | who asks to join |
//! | `line` | time, name, mark, how it is shown (`own`, `loud`, `private`, `earlier` or nothing), text |
//! | `notice` | time, mark, text |
//! | `transfer` | title, bytes done, bytes in all, how far it is in words |
//! | `file` | time, number, name, mark, text |
//! | `offer` | time, name, text of a file that can be accepted or declined |
//! | `made` | the path of a key that was made |
//!
//! | page to program | fields |
//! | --- | --- |
//! | `join` | values of the form, `FIELD=VALUE` each, and the content of key files that were chosen |
//! | `key` | path of a key file to be made |
//! | `find` | |
//! | `say` | what was typed: a line, or several if they were pasted |
//! | `ask` | a command whose answer goes into the lists |
//! | `stop` | |
//! | `leave` | |
//! | `open` | the number of a received file, whose folder is to be shown |
//!
//! Every page shows the same. A page that is opened later gets what was shown before, as far as it is kept. Invariant: what is kept has a
//! bound, and a page that is so slow that it misses something is closed. It then loads everything anew.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Display;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::terminal::style::harmless;

/// How many messages are kept, and how many bytes of them: for pages that are opened later, and for those that are slow.
const MAX_KEPT: usize = 2000;
const MAX_KEPT_LEN: usize = 4 << 20;

/// The program ends when no page has been open for this time.
const CLOSED_TIME: Duration = Duration::from_secs(60);

/// A message to a page.
pub(super) type Message = Arc<str>;

/// A message of this kind, with fields that are harmless.
pub(super) fn message(kind: &str, fields: &[&dyn Display]) -> Message {
    list(kind, fields)
}

/// The same, of fields of one kind.
pub(super) fn list(kind: &str, fields: impl IntoIterator<Item = impl Display>) -> Message {
    let mut message = kind.to_owned();
    for field in fields {
        message.push('\n');
        message.push_str(&harmless(&field.to_string()));
    }
    message.into()
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Pages {
    state: Mutex<State>,
    /// There is a message, or a page has been opened or closed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The numbers of the pages.
    open: BTreeSet<u64>,
    n_opened: u64,
    /// The program is to end.
    is_over: bool,
    /// What has one present value, such as the state, in the order in which it was shown.
    present: Vec<Message>,
    /// The last messages, and up to which page each goes.
    kept: VecDeque<(u64, Message)>,
    kept_len: usize,
    /// How many were kept before them, and how many there were when all pages were emptied.
    n_before: usize,
    n_at_reset: usize,
}

impl Pages {
    /// Shows something that stays: a line, a notice, a file.
    pub(super) fn show(&self, message: Message) {
        self.push(self.state.lock(), u64::MAX, message);
    }

    /// Shows something to the pages that are open now.
    pub(super) fn send(&self, message: Message) {
        let state = self.state.lock();
        let last = state.n_opened;
        self.push(state, last, message);
    }

    /// Shows something to the pages up to this one.
    fn push(&self, mut state: MutexGuard<State>, last: u64, message: Message) {
        state.kept_len += message.len();
        state.kept.push_back((last, message));
        while state.kept.len() > MAX_KEPT || state.kept_len > MAX_KEPT_LEN {
            state.kept_len -= state.kept.pop_front().map_or(0, |(_, first)| first.len());
            state.n_before += 1;
        }
        self.changed.notify_all();
    }

    /// Shows something in place of the last message of its kind.
    pub(super) fn set(&self, message: Message) {
        let mut state = self.state.lock();
        let is_other = |last: &Message| last.lines().next() != message.lines().next();
        state.present.retain(is_other);
        state.present.push(Arc::clone(&message));
        drop(state);
        self.send(message);
    }

    /// Empties all pages.
    pub(super) fn reset(&self) {
        let mut state = self.state.lock();
        state.present.clear();
        state.n_at_reset = state.n_before + state.kept.len();
        drop(state);
        self.send(message("reset", &[]));
    }

    /// A page has been opened. Returns its number, and what it shows.
    pub(super) fn open(self: &Arc<Pages>) -> (u64, impl Iterator<Item = Message> + use<>) {
        let mut state = self.state.lock();
        state.n_opened += 1;
        let page = state.n_opened;
        state.open.insert(page);
        self.changed.notify_all();
        let mut first = vec![message("reset", &[])];
        first.extend(state.present.iter().cloned());
        let kept = state.kept.iter();
        let kept = kept.skip(state.n_at_reset.saturating_sub(state.n_before));
        let kept = kept.filter(|(last, _)| page <= *last);
        first.extend(kept.map(|(_, message)| Arc::clone(message)));
        let (pages, mut at) = (Arc::clone(self), state.n_before + state.kept.len());
        let later = iter::from_fn(move || pages.next(page, &mut at));
        (page, first.into_iter().chain(later))
    }

    /// Waits for the next message to this page, from the one of this number on. `None`: the page is closed, or has missed it.
    fn next(&self, page: u64, at: &mut usize) -> Option<Message> {
        let mut state = self.state.lock();
        while state.open.contains(&page) {
            match state.kept.get(at.checked_sub(state.n_before)?) {
                None => self.changed.wait(&mut state),
                Some((last, message)) => {
                    *at += 1;
                    if page <= *last {
                        return Some(Arc::clone(message));
                    }
                }
            }
        }
        None
    }

    /// A page has been closed.
    pub(super) fn close(&self, page: u64) {
        self.state.lock().open.remove(&page);
        self.changed.notify_all();
    }

    /// The program is to end. If that was so before, it ends here.
    pub(super) fn end(&self) {
        if std::mem::replace(&mut self.state.lock().is_over, true) {
            std::process::exit(1);
        }
        self.changed.notify_all();
    }

    /// Waits until the program is to end, or the last page has been closed for a minute and nothing is under way. Before the first page it
    /// waits for ever.
    pub(super) fn wait_until_left(&self, is_busy: impl Fn() -> bool) {
        let mut state = self.state.lock();
        while !state.is_over {
            let used = |it: &mut State| !it.is_over && (it.n_opened == 0 || !it.open.is_empty());
            self.changed.wait_while(&mut state, used);
            let unused = |it: &mut State| !it.is_over && it.open.is_empty();
            let waited = self.changed.wait_while_for(&mut state, unused, CLOSED_TIME);
            state.is_over |= waited.timed_out() && !is_busy();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_takes_nothing_is_closed_and_what_is_kept_has_a_bound() {
        let pages = Arc::new(Pages::default());
        let (_, takes_nothing) = pages.open();
        let long = "x".repeat(100_000);
        for n in 0..100 {
            pages.show(message("line", &[&n, &long]));
        }
        let (_, first) = pages.open();
        pages.show(message("line", &[&"last"]));
        pages.reset();
        // A page that is opened later has the last ones, and goes on with what comes.
        let first: Vec<Message> = first.take(44).collect();
        assert_eq!(&*first[0], "reset");
        assert!(first[1].starts_with("line\n59\n") && first[41].starts_with("line\n99\n"));
        assert_eq!((&*first[42], &*first[43]), ("line\nlast", "reset"));
        // It has missed a message, and so it ends.
        assert_eq!(takes_nothing.count(), 1);
    }

    #[test]
    fn no_field_can_begin_another_one() {
        let message = message("line", &[&"a\nb", &"\r\u{2028}c"]);
        assert_eq!(message.split('\n').count(), 3, "{message}");
    }
}
