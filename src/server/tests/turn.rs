//! Tests of the turn: by scripts, and against a model of its rules.

use proptest::prelude::*;

use super::*;

/// The turn of one client in words: what is done, and what passes then.
#[derive(Default)]
struct Script(Turn);

impl Script {
    fn line(&mut self, text: &str) -> String {
        match self.0.line(line(text)) {
            Some(line) => word(Outgoing::Line(line)),
            None => self.words(),
        }
    }

    fn offer(&mut self, file: &'static str) -> String {
        self.0.offer(Download::of(file));
        self.words()
    }

    fn kick(&mut self) -> String {
        self.0.event(Event::End(
            vec![frame("/kicked")],
            Departure::Ended("kicked".into()),
        ));
        self.words()
    }

    fn opens(&mut self) -> bool {
        self.0.open_dialogue()
    }

    fn closes(&mut self) -> String {
        self.0.close_dialogue();
        self.words()
    }

    /// The first answer of a delivery.
    fn name(&mut self) -> String {
        if self.0.name_wanted() {
            self.words()
        } else {
            "not due".into()
        }
    }

    /// The second.
    fn body(&mut self) -> String {
        if self.0.body_wanted() {
            self.words()
        } else {
            "not due".into()
        }
    }

    fn body_out(&mut self) -> String {
        self.0.body_out();
        self.words()
    }

    /// The file whose download is given back by the last of as many ticks as a client may take. None is before.
    fn ten_minutes(&mut self) -> Option<String> {
        assert!((1..ANSWER_TICKS).all(|_| self.0.tick().is_empty()));
        self.0
            .tick()
            .pop()
            .map(|download| download.file.name.to_string())
    }

    /// What passes now.
    fn words(&mut self) -> String {
        std::iter::from_fn(|| self.0.next_outgoing())
            .map(word)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn word(pass: Outgoing) -> String {
    let text = |frame: &Frame| String::from_utf8_lossy(&frame.bytes).into_owned();
    match pass {
        Outgoing::Frame(frame) | Outgoing::Line(Line { frame, .. }) => text(&frame),
        Outgoing::Lost(n) => format!("lost:{n}"),
        Outgoing::Body(download) => format!("body:{}", download.file.name),
        Outgoing::NoBody => "no-body".into(),
        Outgoing::End(frames, reason) => format!("{}:{reason}", text(&frames[0])),
    }
}

fn frame(text: &str) -> Frame {
    Frame::plain(text)
}

fn line(text: &str) -> Line {
    Line {
        frame: frame(text),
        number: 1,
    }
}

#[test]
fn event_passes_at_once_when_nothing_is_open() {
    let mut bob = Script::default();
    assert_eq!(bob.line("hi"), "hi");
    assert_eq!(bob.kick(), "/kicked:kicked");
}

#[test]
fn events_wait_in_order_until_the_dialogue_ends() {
    let mut bob = Script::default();
    assert!(bob.opens());
    assert_eq!(bob.line("one"), "");
    assert_eq!(bob.offer("a.txt"), "");
    assert_eq!(bob.line("two"), "");
    assert_eq!(bob.closes(), "one a.txt?");
    assert_eq!(
        (bob.name(), bob.body()),
        ("name:a.txt".into(), "body:a.txt".into())
    );
    assert_eq!(bob.body_out(), "two");
}

#[test]
fn kicked_member_hears_it_when_the_dialogue_ends_and_nothing_after_it() {
    let mut bob = Script::default();
    assert!(bob.opens());
    assert_eq!(bob.line("before"), "");
    assert_eq!(bob.kick(), "");
    assert_eq!(bob.line("after"), "");
    assert_eq!(bob.kick(), "");
    assert_eq!(bob.closes(), "before /kicked:kicked");
    assert_eq!(bob.line("after"), "");
    assert!(bob.opens());
    assert_eq!(bob.closes(), "");
}

#[test]
fn kicked_member_gets_the_file_under_way_first() {
    let mut bob = Script::default();
    assert_eq!(bob.offer("a.txt"), "a.txt?");
    assert_eq!(bob.kick(), "");
    assert!(!bob.0.offer(Download::of("b.txt")));
    assert_eq!(
        (bob.name(), bob.body()),
        ("name:a.txt".into(), "body:a.txt".into())
    );
    assert_eq!(bob.body_out(), "/kicked:kicked");
}

#[test]
fn offers_go_one_at_a_time() {
    let mut bob = Script::default();
    assert_eq!(bob.offer("a.txt"), "a.txt?");
    assert_eq!(bob.offer("b.txt"), "");
    assert_eq!(
        (bob.name(), bob.body()),
        ("name:a.txt".into(), "body:a.txt".into())
    );
    assert_eq!(bob.offer("c.txt"), "");
    assert_eq!(bob.body_out(), "b.txt?");
    assert_eq!(
        (bob.name(), bob.body()),
        ("name:b.txt".into(), "body:b.txt".into())
    );
    assert_eq!(bob.body_out(), "c.txt?");
}

#[test]
fn dialogue_waits_for_the_answers_of_a_delivery_but_not_for_its_body() {
    let mut bob = Script::default();
    bob.offer("a.txt");
    assert!(!bob.opens());
    bob.name();
    assert!(!bob.opens());
    bob.body();
    assert!(bob.opens());
    assert_eq!(bob.line("hi"), "");
    // The body comes to its end inside the dialogue.
    assert_eq!(bob.body_out(), "");
    assert_eq!(bob.closes(), "hi");
}

#[test]
fn answers_that_are_not_due_are_nothing() {
    let mut bob = Script::default();
    assert_eq!(
        (bob.name(), bob.body()),
        ("not due".into(), "not due".into())
    );
    bob.offer("a.txt");
    assert_eq!(bob.body(), "not due");
    assert_eq!(
        (bob.name(), bob.name()),
        ("name:a.txt".into(), "not due".into())
    );
    assert_eq!(
        (bob.body(), bob.body()),
        ("body:a.txt".into(), "not due".into())
    );
    assert_eq!(bob.name(), "not due");
}

#[test]
fn delivery_without_an_answer_for_ten_minutes_is_called_off_in_step() {
    let mut bob = Script::default();
    assert_eq!(bob.offer("a.txt"), "a.txt?");
    assert_eq!(bob.line("hi"), "");
    assert_eq!(bob.ten_minutes(), Some("a.txt".into()));
    // Nothing else may be said before the answers have come after all.
    assert_eq!((bob.line("there"), bob.opens()), (String::new(), false));
    assert_eq!(bob.name(), "name:a.txt");
    assert_eq!(bob.body(), "no-body hi there");

    // Each of the two answers has its own ten minutes, and the body has as long as it takes.
    assert_eq!(
        (bob.offer("b.txt"), bob.name()),
        ("b.txt?".into(), "name:b.txt".into())
    );
    assert_eq!(bob.ten_minutes(), Some("b.txt".into()));
    assert_eq!(bob.ten_minutes(), None);
    assert_eq!(bob.body(), "no-body");
    bob.offer("c.txt");
    assert!((1..ANSWER_TICKS).all(|_| bob.0.tick().is_empty()));
    assert_eq!(bob.name(), "name:c.txt");
    assert!(bob.0.tick().is_empty());
    assert_eq!((bob.body(), bob.ten_minutes()), ("body:c.txt".into(), None));
}

#[test]
fn offer_that_waits_for_ten_minutes_is_withdrawn_and_the_lines_around_it_stay() {
    let mut bob = Script::default();
    bob.opens();
    assert_eq!(
        (bob.line("one"), bob.offer("a.txt"), bob.line("two")),
        Default::default()
    );
    assert_eq!(bob.ten_minutes(), Some("a.txt".into()));
    assert_eq!(bob.closes(), "one two");
}

#[test]
fn beyond_eight_mebibytes_the_oldest_lines_give_way_to_one_notice() {
    let mut bob = Script::default();
    let text = |letter: &str, len: usize| letter.repeat(len);
    bob.opens();
    bob.line(&text("a", 3));
    bob.offer("b.txt");
    bob.line(&text("c", 4));
    bob.line(&text("d", MAX_PARKED - 7 - 5 * ENTRY_COST));
    assert_eq!(
        (bob.0.n_lost, bob.0.parked_len + bob.0.entries_cost()),
        (0, MAX_PARKED - ENTRY_COST)
    );
    bob.line("e");
    bob.line("fff");
    bob.kick();
    // The offer and the ending never give way.
    assert_eq!(bob.closes(), "lost:2 b.txt?");
    bob.name();
    bob.body();
    let rest = format!(
        "{} e fff /kicked:kicked",
        text("d", MAX_PARKED - 7 - 5 * ENTRY_COST)
    );
    assert!(bob.body_out() == rest);
}

#[test]
fn more_offers_than_sixty_four_do_not_wait() {
    let mut bob = Script::default();
    bob.offer("a.txt");
    let file = || Download::of("b.txt");
    assert!((0..MAX_OFFERS).all(|_| bob.0.offer(file())));
    assert!(!bob.0.offer(file()));
    bob.name();
    bob.body();
    assert_eq!(bob.body_out(), "b.txt?");
    assert!(bob.0.offer(file()));
    assert!(!bob.0.offer(file()));
}

/// Everything that can happen to a turn.
#[derive(Clone, Debug)]
enum Input {
    Line(usize),
    Offers(usize),
    End,
    Open,
    Close,
    NameWanted,
    BodyWanted,
    /// The writer's word; it comes only while a body is on its way.
    BodyOut,
    Ticks(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        8 => prop_oneof![6 => 1..9_usize, 1 => Just(3 << 20), 1 => Just(MAX_PARKED - 8 - ENTRY_COST)].prop_map(Input::Line),
        4 => prop_oneof![9 => Just(1_usize), 1 => Just(MAX_OFFERS)].prop_map(Input::Offers),
        1 => Just(Input::End),
        4 => Just(Input::Open),
        4 => Just(Input::Close),
        5 => Just(Input::NameWanted),
        5 => Just(Input::BodyWanted),
        5 => Just(Input::BodyOut),
        2 => prop_oneof![Just(1), Just(ANSWER_TICKS - 1)].prop_map(Input::Ticks),
    ]
}

/// What a client sees, and what is still to come to it: the rules of the protocol, kept in the plainest way.
#[derive(Default)]
struct Model {
    turn: Turn,
    is_dialogue_open: bool,
    stage: Stage,
    waiting: VecDeque<Waiting>,
    n_lost: u64,
    is_ended: bool,
    n_files: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    #[default]
    NoDelivery,
    /// An answer is due: the first, or the second. The delivery has been called off once its ticks are over.
    Due {
        file: usize,
        is_second: bool,
        ticks: u64,
    },
    Sending,
}

#[derive(Debug)]
enum Waiting {
    Line(Frame),
    Offer(usize, u64),
    End(Vec<Frame>),
}

impl Model {
    fn is_free(&self) -> bool {
        !self.is_dialogue_open && self.stage == Stage::NoDelivery
    }

    fn does(&mut self, input: Input) {
        match input {
            Input::Line(len) => {
                let line = Frame::plain(vec![0; len]);
                let passed = self.turn.line(Line {
                    frame: line.clone(),
                    number: 0,
                });
                self.waits(Waiting::Line(line));
                self.hears_after(passed.map(Outgoing::Line));
            }
            Input::Offers(n) => (0..n).for_each(|_| self.is_offered_a_file()),
            Input::End => {
                let frames = vec![frame("end")];
                self.turn.event(Event::End(
                    frames.clone(),
                    Departure::Ended("kicked".into()),
                ));
                self.waits(Waiting::End(frames));
                self.is_ended = true;
                self.hears();
            }
            Input::Open => {
                let is_answer_due = matches!(self.stage, Stage::Due { .. });
                assert_eq!(self.turn.open_dialogue(), !is_answer_due);
                self.is_dialogue_open |= !is_answer_due;
            }
            Input::Close => {
                self.is_dialogue_open = false;
                self.turn.close_dialogue();
                self.hears();
            }
            Input::NameWanted => match (self.turn.name_wanted(), self.stage) {
                (
                    is_due,
                    Stage::Due {
                        file,
                        is_second: false,
                        ..
                    },
                ) => {
                    assert!(is_due);
                    let name = format!("name:{file}");
                    assert_eq!(self.turn.next_outgoing().map(word), Some(name));
                    self.stage = Stage::Due {
                        file,
                        is_second: true,
                        ticks: called_off_or_fresh(self.stage),
                    };
                }
                (is_due, stage) => assert!(!is_due, "not due: {stage:?}"),
            },
            Input::BodyWanted => match (self.turn.body_wanted(), self.stage) {
                (
                    is_due,
                    Stage::Due {
                        file,
                        is_second: true,
                        ticks,
                    },
                ) => {
                    assert!(is_due);
                    let is_called_off = ticks >= ANSWER_TICKS;
                    let (pass, stage) = if is_called_off {
                        ("no-body".to_owned(), Stage::NoDelivery)
                    } else {
                        (format!("body:{file}"), Stage::Sending)
                    };
                    assert_eq!(self.turn.next_outgoing().map(word), Some(pass));
                    self.stage = stage;
                    self.hears();
                }
                (is_due, stage) => assert!(!is_due, "not due: {stage:?}"),
            },
            Input::BodyOut if self.stage == Stage::Sending => {
                self.stage = Stage::NoDelivery;
                self.turn.body_out();
                self.hears();
            }
            Input::BodyOut => {}
            Input::Ticks(n) => (0..n).for_each(|_| self.ticks()),
        }
    }

    fn is_offered_a_file(&mut self) {
        let is_offer = |waiting: &&Waiting| matches!(waiting, Waiting::Offer(..));
        let n_offers = self.waiting.iter().filter(is_offer).count();
        let has_space = n_offers < MAX_OFFERS && !self.is_ended;
        self.n_files += 1;
        let file = self.n_files;
        let download = Download::of(&file.to_string());
        assert_eq!(self.turn.offer(download), has_space);
        if has_space {
            self.waits(Waiting::Offer(file, 0));
            self.hears();
        }
    }

    fn ticks(&mut self) {
        let mut due = Vec::new();
        if let Stage::Due { file, ticks, .. } = &mut self.stage {
            *ticks += 1;
            due.extend((*ticks == ANSWER_TICKS).then_some(*file));
        }
        self.waiting.retain_mut(|waiting| match waiting {
            Waiting::Offer(file, ticks) => {
                *ticks += 1;
                due.extend((*ticks == ANSWER_TICKS).then_some(*file));
                *ticks < ANSWER_TICKS
            }
            Waiting::Line(_) | Waiting::End(_) => true,
        });
        let files = self.turn.tick();
        let files: Vec<_> = files.iter().map(|it| it.file.name.to_string()).collect();
        let due: Vec<_> = due.iter().map(ToString::to_string).collect();
        assert_eq!(files, due);
    }

    fn waits(&mut self, event: Waiting) {
        if self.is_ended {
            return;
        }
        self.waiting.push_back(event);
        let len = |waiting: &Waiting| match waiting {
            Waiting::Line(frame) => frame.bytes.len(),
            _ => 0,
        };
        let cost = |waiting: &Waiting| len(waiting) + ENTRY_COST;
        while self.waiting.iter().map(cost).sum::<usize>() > MAX_PARKED {
            let oldest = self.waiting.iter().position(|waiting| len(waiting) > 0);
            let Some(oldest) = oldest else { break };
            self.waiting.remove(oldest);
            self.n_lost += 1;
        }
    }

    fn hears(&mut self) {
        self.hears_after(None);
    }

    /// What passes now, after this.
    fn hears_after(&mut self, mut first: Option<Outgoing>) {
        while let Some(pass) = first.take().or_else(|| self.turn.next_outgoing()) {
            assert!(self.is_free(), "{} out of turn", word(pass));
            if let Outgoing::Lost(n) = pass {
                assert_eq!(n, std::mem::take(&mut self.n_lost));
                continue;
            }
            assert_eq!(
                self.n_lost, 0,
                "the notice comes before what was said after it"
            );
            match (pass, self.waiting.pop_front().unwrap()) {
                (Outgoing::Line(Line { frame, .. }), Waiting::Line(line)) => {
                    assert!(std::ptr::eq(&*frame.bytes, &*line.bytes), "out of order");
                }
                (Outgoing::Frame(ask), Waiting::Offer(file, _)) => {
                    assert_eq!(word(Outgoing::Frame(ask)), format!("{file}?"));
                    self.stage = Stage::Due {
                        file,
                        is_second: false,
                        ticks: 0,
                    };
                }
                (Outgoing::End(frames, Departure::Ended(_)), Waiting::End(end)) => {
                    assert!(std::ptr::eq(&*frames[0].bytes, &*end[0].bytes));
                    assert!(self.is_ended && self.waiting.is_empty());
                }
                (pass, waiting) => panic!("out of order: {}, {waiting:?}", word(pass)),
            }
        }
        // Everything that can go has gone.
        let is_anything_left = !self.waiting.is_empty() || self.n_lost > 0;
        assert!(
            !self.is_free() || !is_anything_left,
            "{:?} is missing",
            self.waiting
        );
    }
}

fn called_off_or_fresh(stage: Stage) -> u64 {
    match stage {
        Stage::Due { ticks, .. } if ticks >= ANSWER_TICKS => ticks,
        _ => 0,
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_client_hears_everything_in_turn(inputs in prop::collection::vec(input(), 1..60)) {
        let mut model = Model::default();
        for input in inputs {
            model.does(input);
        }
        // In the end the client does all that it owes, and nothing is left.
        for _ in 0..=MAX_OFFERS {
            for input in [Input::Close, Input::NameWanted, Input::BodyWanted, Input::BodyOut] {
                model.does(input);
            }
        }
        prop_assert!(model.is_free() && model.waiting.is_empty());
        prop_assert_eq!((model.turn.parked_len, model.turn.n_lost), (0, 0));
    }
}
