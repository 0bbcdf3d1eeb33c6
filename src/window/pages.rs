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
//! | `error` | which field, what is wrong |
//! | `room` | its name, the person's name, then the commands that can be typed |
//! | `state` | `connecting`, `waiting`, `connected`, `lost` or `ended`; the seconds to the next try |
//! | `online`, `requests` | the admin or nothing, then who is here, or who asked to join |
//! | `requested` | who asks to join |
//! | `line` | time, name, mark, how it is shown (`own`, `loud`, `private`, `earlier` or nothing), text |
//! | `notice` | time, mark, text |
//! | `transfer` | title, bytes done, bytes in all, how far it is in words |
//! | `file` | time, number, name, text |
//! | `more` | the next piece of an upload may come |
//! | `taken` | an upload has come whole |
//! | `refused` | an upload ends here: why |
//! | `made` | the path of a key that was made |
//!
//! | page to program | fields |
//! | --- | --- |
//! | `join` | values of the form, `FIELD=VALUE` each |
//! | `key` | path of a key file to be made |
//! | `find` | |
//! | `say` | what was typed: a line, or several if they were pasted |
//! | `ask` | a command whose answer goes into the lists |
//! | `stop` | |
//! | `leave` | |
//! | `open` | the number of a received file, whose folder is to be shown |
//! | `upload` | name, bytes, the one person it is for or nothing; its pieces follow as binary messages |
//! | `cancel` | |
//!
//! Every page shows the same. A page that is opened later gets what was shown before, as far as it is kept. Invariant: what is kept has a
//! bound, and a page that takes nothing is closed. It then loads everything anew.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex};

use crate::terminal::style::harmless;

/// How many lines and notices are kept for pages that are opened later, and how many bytes of them.
const MAX_SHOWN: usize = 2000;
const MAX_SHOWN_LEN: usize = 4 << 20;

/// How many messages may wait for a page, and how many bytes of them before the next one. Above it the page is closed.
const MAX_WAITING: usize = 1000;
const MAX_WAITING_LEN: usize = 8 << 20;

/// The program ends when no page has been open for this time.
const CLOSED_TIME: Duration = Duration::from_secs(60);

/// A message to a page.
pub(super) type Message = Arc<str>;

/// A message of this kind, with fields that are harmless.
pub(super) fn message(kind: &str, fields: &[&dyn Display]) -> Message {
    list(kind, fields)
}

/// The same, of fields of one kind.
pub(super) fn list(kind: &str, fields: &[impl Display]) -> Message {
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
    /// A page has been opened or closed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u64, Page>,
    n_opened: u64,
    /// What has one present value, such as the state, in the order in which it was first shown.
    present: Vec<Message>,
    /// What was shown, line by line.
    shown: VecDeque<Message>,
    shown_len: usize,
}

/// What goes to an open page.
struct Page {
    messages: Sender<Message>,
    /// How many bytes wait.
    waiting_len: Arc<AtomicUsize>,
}

impl Page {
    /// Returns whether the page keeps up.
    fn send(&self, message: &Message) -> bool {
        let waiting_len = self.waiting_len.fetch_add(message.len(), Ordering::SeqCst);
        waiting_len < MAX_WAITING_LEN && self.messages.try_send(Arc::clone(message)).is_ok()
    }
}

impl State {
    fn send(&mut self, message: &Message) {
        self.open.retain(|_, page| page.send(message));
    }
}

impl Pages {
    /// Shows something that stays: a line, a notice, a file.
    pub(super) fn show(&self, message: Message) {
        let mut state = self.state.lock();
        state.send(&message);
        state.shown_len += message.len();
        state.shown.push_back(message);
        while state.shown.len() > MAX_SHOWN || state.shown_len > MAX_SHOWN_LEN {
            state.shown_len -= state.shown.pop_front().map_or(0, |first| first.len());
        }
    }

    /// Shows something in place of the last message of its kind.
    pub(super) fn set(&self, message: Message) {
        let mut state = self.state.lock();
        state.send(&message);
        let is_kind = |last: &&mut Message| last.lines().next() == message.lines().next();
        match state.present.iter_mut().find(is_kind) {
            Some(last) => *last = message,
            None => state.present.push(message),
        }
    }

    /// Shows something to the pages that are open now.
    pub(super) fn send(&self, message: Message) {
        self.state.lock().send(&message);
    }

    /// Empties all pages.
    pub(super) fn reset(&self) {
        let mut state = self.state.lock();
        state.present.clear();
        state.shown.clear();
        state.shown_len = 0;
        state.send(&message("reset", &[]));
    }

    /// A page has been opened. Returns its number, and what it shows.
    pub(super) fn open(&self) -> (u64, impl Iterator<Item = Message> + use<>) {
        let mut state = self.state.lock();
        let mut first = vec![message("reset", &[])];
        first.extend(state.present.iter().chain(&state.shown).cloned());
        let (messages, later) = bounded(MAX_WAITING);
        let waiting_len = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting_len);
        let later = later.into_iter().inspect(move |message: &Message| {
            taken.fetch_sub(message.len(), Ordering::SeqCst);
        });
        state.n_opened += 1;
        let number = state.n_opened;
        let page = Page {
            messages,
            waiting_len,
        };
        state.open.insert(number, page);
        self.changed.notify_all();
        (number, first.into_iter().chain(later))
    }

    /// Shows something to one page only.
    pub(super) fn answer(&self, page: u64, message: Message) {
        if let Some(page) = self.state.lock().open.get(&page) {
            // If it does not keep up, the page is closed with the next message to all.
            page.send(&message);
        }
    }

    /// A page has been closed.
    pub(super) fn close(&self, page: u64) {
        self.state.lock().open.remove(&page);
        self.changed.notify_all();
    }

    /// Waits until the last page has been closed for a minute, and nothing is under way. Before the first page it waits for ever.
    pub(super) fn wait_until_left(&self, is_busy: impl Fn() -> bool) {
        let mut state = self.state.lock();
        loop {
            if state.n_opened == 0 || !state.open.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            let until = Instant::now() + CLOSED_TIME;
            while state.open.is_empty() && !self.changed.wait_until(&mut state, until).timed_out() {
            }
            if state.open.is_empty() && !is_busy() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_takes_nothing_is_closed_and_what_is_kept_has_a_bound() {
        let pages = Pages::default();
        let (_, takes_nothing) = pages.open();
        let long = "x".repeat(100_000);
        for n in 0..100 {
            pages.show(message("line", &[&n, &long]));
        }
        assert!(pages.state.lock().open.is_empty());
        let (_, first) = pages.open();
        pages.show(message("line", &[&"last"]));
        pages.reset();
        // A page that is opened later has the last ones, and goes on with what comes.
        let first: Vec<Message> = first.take(44).collect();
        assert_eq!(&*first[0], "reset");
        assert!(first[1].starts_with("line\n59\n") && first[41].starts_with("line\n99\n"));
        assert_eq!((&*first[42], &*first[43]), ("line\nlast", "reset"));
        // It was sent as much as fits, and then nothing.
        assert!(takes_nothing.count() < 100);
    }

    #[test]
    fn no_field_can_begin_another_one() {
        let message = message("line", &[&"a\nb", &"\r\u{2028}c"]);
        assert_eq!(message.split('\n').count(), 3, "{message}");
    }
}
