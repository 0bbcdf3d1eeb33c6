//! What the tests of the server share: a server without sockets or threads, people in its groups, and what each of them gets.
//!
//! A [`Person`] is a client that has joined, and does what is asked of it at once. A [`Script`] is a client whose frames go through a
//! session. The session reads one step of the script at a time; other things may happen between two steps.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::client::Client;
use super::download::tell_news;
use super::frame::{Frame, sealed_frame};
use super::group::Group;
use super::joining::{JoinFrames, Joining};
use super::refusal::Refusal;
use super::share::Offers;
use super::spool::{Body, Spool};
use super::table::GroupTable;
use super::turn::Turn;
use super::{ServerSettings, Shared};
use crate::net::departure::Departure;
use crate::net::fairness::Source;
use crate::net::fairness::tests::source;
use crate::net::outbox::tests::{TakesNothing, with_channel};
use crate::net::outbox::{Item, Outbox, Pace};
use crate::seal::{Key, PublicKey};
use crate::wire::command::{
    ACCEPTED, Dialect, FERNCHAT, KICKED, NEWS, SEND_GROUP_NAME, after, line, notice,
};
use crate::wire::joining::{Introduction, challenge_of};
use crate::wire::name::{FileName, GroupName, UserName};
use crate::wire::name_set;
use crate::wire::transfer::FileOffer;

/// The group that everybody joins.
pub const DEN: &str = "the den";

pub struct Kit {
    pub shared: Shared,
    /// The spool's folder.
    _folder: tempfile::TempDir,
    next_id: AtomicU64,
    /// Where the clients of a test come from. A test may change it.
    pub source: Mutex<Source>,
}

impl Kit {
    pub fn new() -> Kit {
        let folder = tempfile::tempdir().unwrap();
        Kit {
            shared: Shared {
                settings: ServerSettings {
                    max_clients: 10,
                    max_file: 1000,
                    python_file_limit: Some(100),
                    ..ServerSettings::new(String::new(), 0)
                },
                key: Arc::new(Key::generate()),
                salt: None,
                table: GroupTable::new(3, Arc::default()),
                spool: Spool::new(folder.path()).unwrap(),
                news: Arc::default(),
                places: Mutex::default(),
                probe_time: Duration::ZERO,
            },
            _folder: folder,
            next_id: AtomicU64::new(1),
            source: Mutex::new(source(1)),
        }
    }

    /// A frame with this text.
    pub fn frame(&self, text: impl AsRef<[u8]>) -> Frame {
        sealed_frame(&self.shared.key, text)
    }

    /// Its bytes.
    pub fn bytes(&self, text: impl AsRef<[u8]>) -> Vec<u8> {
        self.frame(text).bytes.to_vec()
    }

    fn output(&self) -> Output {
        let (outbox, items) = with_channel(Arc::default(), Pace::Batched, Box::new(TakesNothing));
        Output {
            outbox,
            items,
            key: Arc::clone(&self.shared.key),
            heard: RefCell::default(),
            file_ids: RefCell::default(),
        }
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Somebody with a Python client joins the group.
    #[track_caller]
    pub fn joins(&self, name: &str) -> Person<'_> {
        self.tries_to_join(name).unwrap()
    }

    pub fn tries_to_join(&self, name: &str) -> Result<Person<'_>, Refusal> {
        self.tries_to_join_group(name, DEN)
    }

    pub fn tries_to_join_group(&self, name: &str, group: &str) -> Result<Person<'_>, Refusal> {
        self.tries_to_join_with(Dialect::Python, name, group)
    }

    pub fn tries_to_join_with(
        &self,
        dialect: Dialect,
        name: &str,
        group: &str,
    ) -> Result<Person<'_>, Refusal> {
        let introduction = match dialect {
            Dialect::Python => None,
            Dialect::Fernchat => Some(introduction("", "")),
        };
        self.tries(name, introduction, group)
    }

    /// A fernchat client with this run, which has received the line with this mark.
    pub fn tries_to_join_known(
        &self,
        name: &str,
        (run, last_mark): (&str, &str),
    ) -> Result<Person<'_>, Refusal> {
        self.tries(name, Some(introduction(run, last_mark)), DEN)
    }

    fn tries(
        &self,
        name: &str,
        introduction: Option<Introduction>,
        group: &str,
    ) -> Result<Person<'_>, Refusal> {
        self.tries_as(name, introduction, None, *self.source.lock(), group)
    }

    /// A fernchat client with this key tries to join.
    pub fn tries_with_key(&self, name: &str, key: PublicKey) -> Result<Person<'_>, Refusal> {
        self.tries_as(
            name,
            Some(introduction("", "")),
            Some(key),
            *self.source.lock(),
            DEN,
        )
    }

    /// A Python client tries to join from this source.
    pub fn tries_from(&self, name: &str, source: Source) -> Result<Person<'_>, Refusal> {
        self.tries_as(name, None, None, source, DEN)
    }

    fn tries_as(
        &self,
        name: &str,
        introduction: Option<Introduction>,
        user_key: Option<PublicKey>,
        source: Source,
        group: &str,
    ) -> Result<Person<'_>, Refusal> {
        let output = self.output();
        let joining = Joining {
            shared: &self.shared,
            id: self.id(),
            source,
            outbox: &output.outbox,
        };
        let name = UserName::parse(name).unwrap();
        let client = Client::new(joining, name, introduction, user_key);
        let frames = JoinFrames::new(&client, "");
        let name = GroupName::parse(group).unwrap();
        let (group, _) = self.shared.table.join(&name, &client, &frames)?;
        Ok(Person {
            kit: self,
            client,
            output,
            group,
        })
    }

    /// How many clients have joined, by what they say.
    pub fn n_clients(&self) -> usize {
        self.shared.places.lock().len()
    }

    /// The members of the group, the first of them its admin. None of them has heard anything yet.
    pub fn members<const N: usize>(&self, names: [&str; N]) -> [Person<'_>; N] {
        let people = names.map(|name| self.joins(name));
        for name in &names[1..] {
            people[0].approves(name).unwrap();
        }
        people.iter().for_each(|person| drop(person.output.heard()));
        people
    }

    /// A client that has just connected.
    pub fn connects(&self) -> Script<'_> {
        Script {
            kit: self,
            output: Rc::new(self.output()),
            steps: VecDeque::new(),
        }
    }

    /// A Python client that joins the group, as a member or to wait.
    pub fn python(&self, name: &str) -> Script<'_> {
        self.connects().says(name).says(DEN).past_greeting()
    }

    /// A fernchat client that joins the group, as a member or to wait.
    pub fn fernchat(&self, name: &str) -> Script<'_> {
        let group = format!("{DEN}\n{FERNCHAT}");
        self.connects().says(name).says(&group).past_greeting()
    }
}

fn introduction<'a>(run: &'a str, last_mark: &'a str) -> Introduction<'a> {
    Introduction {
        run,
        last_mark,
        ..Introduction::default()
    }
}

/// What goes out to one client, opened and in words.
pub struct Output {
    pub outbox: Arc<Outbox>,
    items: Receiver<Item>,
    key: Arc<Key>,
    heard: RefCell<Vec<String>>,
    /// What the server calls the files that it has offered.
    file_ids: RefCell<Vec<String>>,
}

impl Output {
    /// The client got exactly this since it was asked last: texts, `{sets}`, `<bodies>`, `<key>` and `<end: reason>`. News of members are
    /// left out, where none is expected.
    #[track_caller]
    pub fn hears(&self, texts: &[&str]) {
        let is_news = |text: &str| after(NEWS, text).is_some();
        let mut heard = self.heard();
        heard.retain(|text| !is_news(text) || texts.iter().any(|text| is_news(text)));
        assert_eq!(heard, texts);
    }

    #[track_caller]
    pub fn hears_nothing(&self) {
        self.hears(&[]);
    }

    pub fn heard(&self) -> Vec<String> {
        // A job pushes more when it is done.
        while let Some(item) = self.next_item() {
            let mut bytes = Vec::new();
            match item {
                Item::Bytes(frames, _) => bytes.extend_from_slice(&frames),
                Item::Job(job) => {
                    let mut rest = (job.0)(&mut bytes).unwrap();
                    while let Some(job) = rest {
                        rest = (job.0)(&mut bytes).unwrap();
                    }
                }
                Item::End => {
                    let reason = self.outbox.ending().unwrap();
                    self.heard.borrow_mut().push(format!("<end: {reason}>"));
                }
            }
            let words = self.words(&bytes);
            self.heard.borrow_mut().extend(words);
        }
        self.heard.take()
    }

    fn next_item(&self) -> Option<Item> {
        self.outbox.flush_in_test();
        self.items.try_recv().ok()
    }

    fn words(&self, bytes: &[u8]) -> Vec<String> {
        let mut words = Vec::new();
        let bytes = match bytes.strip_prefix(self.key.as_str().as_bytes()) {
            Some(rest) => {
                words.push("<key>".into());
                rest
            }
            None => bytes,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let word;
            (word, rest) = match rest.split_first_chunk::<4>() {
                Some((length @ [0, ..], rest)) => {
                    let (token, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
                    (self.word(self.key.open(token).unwrap()), rest)
                }
                _ => {
                    // A body has no zero byte, and a frame begins with one.
                    let n = rest.iter().position(|byte| *byte == 0);
                    let (body, rest) = rest.split_at(n.unwrap_or(rest.len()));
                    let word = match (self.key.open(body), body.ends_with(b"!")) {
                        (Ok(text), _) => format!("<{}>", String::from_utf8_lossy(&text)),
                        (Err(_), true) => "<...!>".into(),
                        (Err(_), false) if !rest.is_empty() => "<...>".into(),
                        (Err(error), false) => format!("<{} bytes, {error}>", body.len()),
                    };
                    (word, rest)
                }
            };
            words.push(word);
        }
        words
    }

    fn word(&self, text: Vec<u8>) -> String {
        match String::from_utf8(text) {
            // A challenge is random, and so is what the server calls a file.
            Ok(text) if challenge_of(&text).is_some() => format!("{SEND_GROUP_NAME} <ours>"),
            Ok(text) => {
                if let Some(offer) = FileOffer::parse(&text) {
                    self.file_ids.borrow_mut().push(offer.id.to_owned());
                }
                let mut ids = self.file_ids.borrow().clone().into_iter();
                ids.find(|id| text.contains(id.as_str()))
                    .map_or(text.clone(), |id| text.replace(&id, "<id>"))
            }
            Err(set) => format!("{:?}", name_set::decode(set.as_bytes()).unwrap()),
        }
    }
}

/// Somebody in the group, or waiting for it.
pub struct Person<'a> {
    kit: &'a Kit,
    pub client: Arc<Client>,
    pub group: Arc<Mutex<Group>>,
    pub output: Output,
}

impl<'a> Person<'a> {
    #[track_caller]
    pub fn hears(&self, texts: &[&str]) {
        self.output.hears(texts);
    }

    #[track_caller]
    pub fn hears_nothing(&self) {
        self.output.hears_nothing();
    }

    pub fn says(&self, text: &str) -> Result<(), Refusal> {
        self.says_frame(text).map(drop)
    }

    /// Says something, and returns its frame.
    pub fn says_frame(&self, text: &str) -> Result<Frame, Refusal> {
        let frame = self.kit.frame(line(&self.client.name, text));
        self.group.lock().say(&self.client, None, &frame)?;
        Ok(frame)
    }

    pub fn approves(&self, name: &str) -> Result<(), Refusal> {
        let accepted = self.kit.frame(ACCEPTED);
        self.group
            .lock()
            .approve(&self.client, name, &accepted)
            .map(drop)
    }

    pub fn denies(&self, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
        self.group.lock().deny(&self.client, name)
    }

    pub fn kicks(&self, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
        let kicked = self.group.lock().kick(&self.client, name)?;
        Ok(kicked.holder.client)
    }

    /// Kicks somebody who is online, who is told.
    pub fn throws_out(&self, name: &str) {
        let client = self.kicks(name).unwrap().unwrap();
        client.end(vec![self.kit.frame(KICKED)], "kicked");
    }

    /// Offers a file to every other member online.
    pub fn shares(&self, file: &str, content: &str) {
        self.shares_body(file, self.stores(content.as_bytes()));
    }

    /// Stores a file's body in the spool.
    pub fn stores(&self, content: &[u8]) -> Arc<Body> {
        let shared = &self.kit.shared;
        let token = shared.key.seal(content);
        let (source, len) = (self.client.source, token.len() as u64);
        let upload = shared.spool.begin(&shared.key, source, len).unwrap();
        upload.write(token.as_bytes()).unwrap().finish().unwrap()
    }

    /// Offers a stored file to every other member online.
    pub fn shares_body(&self, file: &str, body: Arc<Body>) {
        let (shared, file) = (&self.kit.shared, FileName::from_peer(file));
        let (what, len) = ((file, None), body.token_len());
        let mut offers = Offers::new(shared, &self.group, &self.client, what, len);
        let result = offers.offer_whole(&self.group, &self.client, &body);
        result.unwrap();
    }

    /// The client hears at the next tick of the clock what became of its files.
    pub fn hears_news(&self, news: &[&str]) {
        self.output.heard();
        tell_news(&self.kit.shared.news);
        let told: Vec<String> = news.iter().map(notice).collect();
        assert_eq!(self.output.heard(), told);
    }

    pub fn opens_dialogue(&self) -> bool {
        self.client.with_turn(Turn::open_dialogue)
    }

    pub fn closes_dialogue(&self) {
        self.client.with_turn(Turn::close_dialogue);
    }

    /// Asks for the name of the file on offer. `false`: that is not due.
    pub fn wants_name(&self) -> bool {
        self.client.with_turn(Turn::name_wanted)
    }

    /// Asks for the body. `false`: that is not due.
    pub fn wants_body(&self) -> bool {
        self.client.with_turn(Turn::body_wanted)
    }

    /// Wants the file that was offered last, from this byte on.
    pub fn wants_file(&self, have: u64) {
        let id = self.file_id();
        self.client.wants_file(&id, &have.to_string()).unwrap();
    }

    /// What the server calls the file that was offered last.
    pub fn file_id(&self) -> String {
        self.output.file_ids.borrow().last().unwrap().clone()
    }

    pub fn hands_over(&self, name: &str) -> Result<(), Refusal> {
        let notice = self.kit.frame("PyChat: it is yours");
        self.group.lock().hand_over(&self.client, name, &notice)
    }

    pub fn leaves(&self) {
        self.group.lock().leave(&self.client);
    }

    pub fn stops_waiting(&self) -> bool {
        let is_waiting = self.group.lock().stop_waiting(&self.client);
        if is_waiting {
            self.client.reply(&self.kit.frame("/waitDisconnect"));
        }
        is_waiting
    }
}

/// What one client says, and what happens meanwhile.
pub struct Script<'a> {
    kit: &'a Kit,
    output: Rc<Output>,
    steps: VecDeque<Step<'a>>,
}

enum Step<'a> {
    /// The client sends these bytes.
    Bytes(Vec<u8>),
    /// This happens when the session has done all that it can do without the next bytes.
    Then(Box<dyn FnOnce() + 'a>),
}

impl<'a> Script<'a> {
    pub fn says(self, text: &str) -> Script<'a> {
        let frame = self.kit.bytes(text);
        self.sends(&frame)
    }

    /// Sends bytes as they are.
    pub fn sends(mut self, bytes: &[u8]) -> Script<'a> {
        self.steps.push_back(Step::Bytes(bytes.to_vec()));
        self
    }

    /// Something else happens.
    pub fn then(mut self, act: impl FnOnce() + 'a) -> Script<'a> {
        self.steps.push_back(Step::Then(Box::new(act)));
        self
    }

    /// The client has heard exactly this since it was asked last.
    #[track_caller]
    pub fn hears(self, texts: &[&str]) -> Script<'a> {
        let (output, asked_at) = (Rc::clone(&self.output), std::panic::Location::caller());
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        self.then(move || assert_eq!(output.heard(), texts, "asked at {asked_at}"))
    }

    #[track_caller]
    pub fn hears_nothing(self) -> Script<'a> {
        self.hears(&[])
    }

    fn past_greeting(self) -> Script<'a> {
        let output = Rc::clone(&self.output);
        self.then(move || drop(output.heard()))
    }

    /// Plays the script. Then the client hangs up. The connection ends for this reason.
    #[track_caller]
    pub fn departs(self, reason: Departure) -> Rc<Output> {
        let steps = Steps(RefCell::new(self.steps));
        let outbox = &self.output.outbox;
        let joining = Joining {
            shared: &self.kit.shared,
            id: self.kit.id(),
            source: *self.kit.source.lock(),
            outbox,
        };
        let departure = match joining.join(&steps) {
            Ok(session) => session.run(),
            Err(departure) => departure,
        };
        outbox.end(departure, Duration::ZERO);
        assert_eq!(outbox.ending(), Some(&reason));
        assert_eq!(steps.0.borrow().len(), 0, "steps that were not played");
        self.output
    }
}

struct Steps<'a>(RefCell<VecDeque<Step<'a>>>);

impl Read for &Steps<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let step = self.0.borrow_mut().pop_front();
            match step {
                None => return Ok(0),
                Some(Step::Then(act)) => act(),
                Some(Step::Bytes(mut bytes)) => {
                    let n = bytes.len().min(buffer.len());
                    buffer[..n].copy_from_slice(&bytes[..n]);
                    let rest = bytes.split_off(n);
                    if !rest.is_empty() {
                        self.0.borrow_mut().push_front(Step::Bytes(rest));
                    }
                    return Ok(n);
                }
            }
        }
    }
}
