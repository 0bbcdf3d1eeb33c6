//! What is typed: the queue of tasks, and the one thread that does them.
//!
//! ```text
//!   a typed line ─▶ task ─▶ [ queue ] ─▶ a dialogue over the connection that there is
//! ```
//!
//! In a pipe a command without the name that it needs begins its dialogue at once. The next line is the name only if the server lets the
//! user name somebody. The script does so, too. A person is asked first.
//!
//! The sending thread reads the next line when the task of the last one is done, so piped input never overtakes an answer. Without a
//! connection, tasks stay in the queue. So does a task whose dialogue broke off: a fernchat server knows a line by its number, so it is
//! not said twice. The main thread wakes this one when there is a connection again, and when the admin has let the user in.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::dialogues::{DialogueError, Dialogues, LEAVE_TIME, Outcome, StepTimeout};
use super::link::Link;
use super::offers::Answer;
use super::paths;
use super::upload::{FileToShare, Next, Upload};
use crate::screen::{Event, Said};
use crate::typed::{self, Action, Typed};
use crate::wire::command::{Command, Dialect};

/// How many tasks wait for a connection. Then no more lines are read until there is one.
const MAX_TASKS: usize = 1000;

/// How many of a server's words about files wait for the sending thread.
const MAX_ANSWERS: usize = 64;

/// How often the sending thread looks whether the server offers again what was lost.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// The half that sends. The sending thread, the main thread and the handler of signals share it.
pub(crate) struct Sending {
    pub(crate) shared: Arc<Shared>,
    state: Mutex<SendingState>,
    /// Notified when the user leaves.
    left: Condvar,
    /// Held during a dialogue: there is one at a time.
    in_dialogue: Mutex<()>,
    /// Wakes the sending thread. A second wake before it runs would tell it nothing new.
    wake: Sender<()>,
    woken: Receiver<()>,
    /// What a fernchat server says of files, for the upload that is under way.
    answer: Sender<String>,
    answers: Receiver<String>,
}

#[derive(Default)]
struct SendingState {
    /// The dialogues over the present connection. `None` before the first connection, and after one is lost.
    dialogues: Option<Arc<Dialogues>>,
    /// The end of the connection is no failure any more.
    is_leaving: bool,
    /// The file that is arriving is to be stopped.
    stops_arriving: bool,
}

/// What the sending thread has to do.
#[derive(Default)]
struct Queue {
    /// The first one may have begun, over a connection that broke.
    tasks: VecDeque<Task>,
    /// The files for a fernchat server. The first one is on its way.
    uploads: VecDeque<Upload>,
    /// The connection over which it is.
    link: Option<Arc<Link>>,
    /// The person is to be asked this.
    question: Option<&'static str>,
    /// In a pipe: the name that the first task has asked for. It stays until the task is done, also over another connection.
    answer: RefCell<Option<String>>,
    /// How many lines the user has said.
    n_said: u64,
    /// The input has ended, or the user wants to leave.
    is_at_end: bool,
}

/// What a typed line asks for.
pub(crate) enum Task {
    /// Say this to the group, or to one member. The number tells the line from all others of this run.
    Say(u64, Said),
    /// Do this, with the name or the path that it needs.
    Do(Action, String),
    /// Look around in the group, which nobody has typed: see [`Dialogues::must_look`].
    Look,
}

impl Sending {
    /// Not connected yet.
    pub(crate) fn new(shared: Arc<Shared>) -> Sending {
        let (wake, woken) = bounded(1);
        let (answer, answers) = bounded(MAX_ANSWERS);
        Sending {
            shared,
            answer,
            answers,
            state: Mutex::default(),
            left: Condvar::new(),
            in_dialogue: Mutex::new(()),
            wake,
            woken,
        }
    }

    /// There is a connection. The main thread then calls [`Sending::wake`]. If the user has left meanwhile, it ends at once.
    pub(crate) fn connected(&self, dialogues: Dialogues) {
        let mut state = self.state.lock();
        if state.is_leaving {
            dialogues.link.shut(Shutdown::Both);
        }
        state.dialogues = Some(Arc::new(dialogues));
    }

    /// Waits for this time, or until the user leaves.
    pub(crate) fn pause(&self, time: Duration) {
        let is_here = |state: &mut SendingState| !state.is_leaving;
        let mut state = self.state.lock();
        self.left.wait_while_for(&mut state, is_here, time);
    }

    /// More may be possible now than before.
    pub(crate) fn wake(&self) {
        // Full: the thread has not looked since the last wake.
        let _ = self.wake.try_send(());
    }

    /// The connection is lost, and another is to be made. Returns `false` if the user is leaving, so that none is needed.
    pub(crate) fn disconnected(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_leaving {
            state.dialogues = None;
            self.wake();
        }
        !state.is_leaving
    }

    /// Whether the user is leaving.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state.lock().is_leaving
    }

    /// The server says something about a file. If it says more than anybody waits for, that is dropped.
    pub(crate) fn answered(&self, text: &str) {
        let _ = self.answer.try_send(text.to_owned());
    }

    /// Stops the file that is on its way. If there is one in each direction, asks which. Returns whether there was one.
    pub(crate) fn stop(&self) -> bool {
        let is_sending = self.shared.upload_stop.is_in_progress();
        let is_arriving = self.shared.offers.lock().is_arriving();
        match (is_sending, is_arriving) {
            (true, true) => self.shared.show(
                "Two files are on their way: /stop up ends what you share, /stop down what you receive.",
            ),
            (true, false) => drop(self.stop_sending()),
            (false, true) => self.stop_arriving(),
            (false, false) => {}
        }
        is_sending || is_arriving
    }

    fn stop_sending(&self) -> bool {
        let is_asked_for = self.shared.upload_stop.ask();
        self.wake();
        is_asked_for
    }

    /// The sending thread sends the word: a write may take a while.
    fn stop_arriving(&self) {
        self.state.lock().stops_arriving = true;
        self.wake();
    }

    /// Leaves as politely as a short time allows. Called by the handler of signals, and at the second Ctrl-C.
    pub(crate) fn leave_at_signal(&self) {
        let Some(dialogues) = self.begin_to_leave() else {
            return;
        };
        let link = &dialogues.link;
        match self.in_dialogue.try_lock_for(LEAVE_TIME) {
            // If the server reads nothing, the receiving thread may be stuck in an answer to it.
            Some(_guard) if link.writing.try_lock_for(LEAVE_TIME).is_some() => {
                dialogues.leave(StepTimeout::Short)
            }
            _ => link.shut(Shutdown::Both),
        }
        // A thread may be waiting for the screen, which a person can hold up. It goes on now.
        self.shared.screen.end();
    }

    /// From now on the end of the connection is no failure. Without a connection there is nobody to say goodbye to, and a program that is
    /// there for this conversation only ends here. In others the main thread sees that the user has left.
    fn begin_to_leave(&self) -> Option<Arc<Dialogues>> {
        let mut state = self.state.lock();
        state.is_leaving = true;
        self.left.notify_all();
        self.wake();
        let dialogues = state.dialogues.clone();
        drop(state);
        if dialogues.is_none() {
            self.shared.screen.end();
            self.shared.screen.left_without_goodbye();
        }
        dialogues
    }

    /// Does what the typed lines say, until the user leaves. The body of the sending thread.
    pub(crate) fn sending_loop(&self, lines: Receiver<Typed>) {
        let mut queue = Queue::default();
        let no_lines = never();
        while self.do_tasks(&mut queue, &lines).is_continue() {
            let next = self.go_on(&mut queue);
            if let Some(question) = queue.question.take() {
                self.shared.screen.prompt(question);
            }
            let is_full = queue.is_at_end || queue.tasks.len() >= MAX_TASKS;
            let time = match next {
                Next::Go | Next::Over => Duration::ZERO,
                Next::Wait if self.shared.offers.lock().awaits_lost() => LOOK_TIME,
                Next::Wait => Duration::MAX,
            };
            select! {
                recv(if is_full { &no_lines } else { &lines }) -> line => match line {
                    Ok(typed) => self.take(typed, &mut queue),
                    Err(_) => queue.is_at_end = true,
                },
                recv(self.answers) -> text => self.take_answer(&text.unwrap_or_default(), &mut queue),
                recv(self.woken) -> _ => {}
                default(time) => {}
            }
        }
    }

    /// Does the next bit of the upload that is on its way.
    fn go_on(&self, queue: &mut Queue) -> Next {
        let lost = self.shared.offers.lock().give_up_lost();
        for title in lost {
            let text = format!(
                "The file {title} did not arrive: the connection broke, and it is not offered again."
            );
            self.shared.show(&text);
        }
        let dialogues = self.state.lock().dialogues.clone();
        let link = dialogues.map(|dialogues| Arc::clone(&dialogues.link));
        let is_same = match (&link, &queue.link) {
            (Some(link), Some(before)) => Arc::ptr_eq(link, before),
            (link, before) => link.is_none() == before.is_none(),
        };
        let Some(upload) = queue.uploads.front_mut() else {
            queue.link = link;
            return Next::Wait;
        };
        if !is_same {
            // What the server has said came over the connection before.
            self.answers.try_iter().for_each(drop);
            if upload.disconnected() {
                let name = upload.name();
                let text = format!(
                    "The connection broke while {name} was sent: it goes on when it is back."
                );
                self.shared.show(&text);
            }
            queue.link = link;
        }
        let Some(link) = queue
            .link
            .as_ref()
            .filter(|_| !self.shared.names.lock().is_waiting)
        else {
            return Next::Wait;
        };
        let _guard = self.in_dialogue.lock();
        // If it fails, the connection is lost, and this thread is woken for that.
        let next = upload.go_on(link, &self.shared.upload_stop);
        let next = next.unwrap_or(Next::Wait);
        drop(_guard);
        self.upload_over(next, queue)
    }

    fn take_answer(&self, text: &str, queue: &mut Queue) {
        if let (Some(upload), Some(link)) = (queue.uploads.front_mut(), &queue.link) {
            let next = upload.answered(link, text).unwrap_or(Next::Wait);
            self.upload_over(next, queue);
        }
    }

    /// If the first upload is over, the next one begins.
    fn upload_over(&self, next: Next, queue: &mut Queue) -> Next {
        if next == Next::Over {
            queue.uploads.pop_front();
            self.shared
                .upload_stop
                .set_in_progress(!queue.uploads.is_empty());
        }
        next
    }

    /// Shares these files, one after the other.
    fn share(
        &self,
        argument: &str,
        open: fn(&Path) -> io::Result<FileToShare>,
        dialogues: &Dialogues,
        ask: &dyn Fn() -> String,
        uploads: &mut VecDeque<Upload>,
    ) -> Outcome {
        let link = &dialogues.link;
        let asked = match argument {
            "" => dialogues.asked(ask),
            _ => argument.to_owned(),
        };
        let (to, paths) = paths::parse(&asked);
        if paths.is_empty() {
            self.shared.show("No file named, nothing done.");
        } else if dialogues.is_alone()? {
            self.shared.show("Nobody else is online: not shared.");
            return Ok(());
        }
        if !to.is_empty() && link.server == Dialect::Python {
            self.shared
                .show("A Python server passes files on to everybody: nothing done.");
            return Ok(());
        }
        let Some(to) = dialogues.meant(&to, Command::AllMembers)? else {
            return Ok(());
        };
        for path in paths {
            let file = match open(&path) {
                Ok(file) => file,
                Err(error) => {
                    let path = path.display();
                    self.shared.show(&format!("Cannot share {path}: {error}."));
                    continue;
                }
            };
            if link.server == Dialect::Python {
                dialogues.share_file(&file)?;
                continue;
            }
            if uploads.is_empty() {
                self.shared.upload_stop.set_in_progress(true);
            }
            uploads.push_back(Upload::new(file, &to, link));
        }
        Ok(())
    }

    /// Answers the offer of a file.
    fn answer_offer(&self, name: &str, wants: Answer, link: &Link) -> Outcome {
        let answer = self.shared.offers.lock().answer(name, wants);
        match answer {
            Ok(word) => {
                // If it fails, the connection is lost, and the server offers the file again.
                let _ = link.send(&[&word]);
                if wants == Answer::Decline && self.shared.screen.is_interactive() {
                    self.shared
                        .show("The file is declined; its sender hears so.");
                }
            }
            Err(titles) if titles.is_empty() => self.shared.show("No file is on offer."),
            Err(titles) => {
                let titles = titles.join(", ");
                self.shared
                    .show(&format!("Which file? On offer: {titles}."));
            }
        }
        Ok(())
    }

    /// Takes what was typed into the queue.
    fn take(&self, typed: Typed, queue: &mut Queue) {
        let shared = &self.shared;
        queue.question = typed.question();
        match typed {
            Typed::Line(line) => self.take(shared.script_means(&line), queue),
            Typed::Do(Action::Quit, text) => {
                self.say(vec![Said { to: None, text }], queue);
                queue.is_at_end = true
            }
            Typed::Ask(Action::Approve | Action::Deny) => {
                self.push(Task::Do(Action::Requests, String::new()), queue);
            }
            Typed::Ask(_) | Typed::If(..) => {}
            // These need no connection.
            Typed::Show(sentence) => shared.show(&sentence),
            Typed::Help(lines) => {
                let lines = lines.into_iter().map(Event::Help);
                lines.for_each(|line| shared.screen.show(line));
            }
            Typed::Do(Action::Stop, which) => {
                let is_stopped = match which.as_str() {
                    "" => self.stop(),
                    "up" => self.stop_sending(),
                    "down" => {
                        self.stop_arriving();
                        self.shared.offers.lock().is_arriving()
                    }
                    _ => false,
                };
                if !is_stopped {
                    shared.show("There is nothing to stop: /stop, /stop up or /stop down.");
                }
            }
            Typed::Do(Action::Ignore, name) => {
                let mut names = shared.names.lock();
                let mut notice = typed::ignore(&name, &mut names);
                let is_person = shared.screen.is_interactive();
                if is_person && names.ignored.contains(&name) && !names.members.contains(&name) {
                    notice += " Nobody here has this name, as far as is known.";
                }
                drop(names);
                shared.show(&notice);
            }
            Typed::Do(Action::Clear, _) => {}
            Typed::Do(action, argument) => self.push(Task::Do(action, argument), queue),
            Typed::Say(lines) => self.say(lines, queue),
        }
    }

    fn say(&self, lines: Vec<Said>, queue: &mut Queue) {
        for said in lines.into_iter().filter(|said| !said.text.is_empty()) {
            queue.n_said += 1;
            self.push(Task::Say(queue.n_said, said), queue);
        }
    }

    fn push(&self, task: Task, queue: &mut Queue) {
        if queue.tasks.is_empty() && self.state.lock().dialogues.is_none() {
            let notice = "There is no connection: it is done as soon as there is one again.";
            self.shared.show(notice);
        }
        queue.tasks.push_back(task);
    }

    /// Does what can be done now of what is in the queue. Breaks when the user has left.
    fn do_tasks(&self, queue: &mut Queue, lines: &Receiver<Typed>) -> ControlFlow<()> {
        loop {
            let dialogues = self.state.lock().dialogues.clone();
            let is_interactive = self.shared.screen.is_interactive();
            if let Some(dialogues) = &dialogues {
                self.stop_where_asked(&dialogues.link);
                if !self.shared.names.lock().is_waiting && dialogues.must_look() {
                    let _guard = self.in_dialogue.lock();
                    // If it fails, the client looks over the next connection.
                    let _ = dialogues.hold(&Task::Look, &String::new);
                }
            }
            match (&dialogues, queue.tasks.pop_front()) {
                (Some(dialogues), Some(task)) if !self.shared.names.lock().is_waiting => {
                    let answer = &queue.answer;
                    let ask = || {
                        let mut answer = answer.borrow_mut();
                        answer.get_or_insert_with(|| self.next_line(lines)).clone()
                    };
                    if !self.do_task(&task, dialogues, &ask, &mut queue.uploads) {
                        queue.tasks.push_front(task);
                        return ControlFlow::Continue(());
                    }
                    queue.answer.take();
                }
                (dialogues, task)
                    if !queue.is_at_end
                        || !is_interactive && self.has_more(dialogues.is_none(), &task, queue) =>
                {
                    task.into_iter()
                        .for_each(|task| queue.tasks.push_front(task));
                    return ControlFlow::Continue(());
                }
                (dialogues, task) => {
                    let why = match dialogues {
                        Some(_) => "you wait for approval",
                        None => "there is no connection",
                    };
                    if task.is_some() {
                        let n = queue.tasks.len() + 1;
                        let lines = match n {
                            1 => "line".to_owned(),
                            n => format!("{n} lines"),
                        };
                        let notice =
                            format!("Not sent, since {why}: the last {lines} that you typed.");
                        self.shared.show(&notice);
                    }
                    for upload in &queue.uploads {
                        let name = upload.name();
                        self.shared
                            .show(&format!("The file {name} was not shared: you left before."));
                    }
                    let _guard = self.in_dialogue.lock();
                    if let Some(dialogues) = self.begin_to_leave() {
                        dialogues.leave(StepTimeout::Goodbye);
                    }
                    return ControlFlow::Break(());
                }
            }
        }
    }

    /// Whether a script has more to do: to say something, to share a file, or to receive one.
    fn has_more(&self, is_disconnected: bool, task: &Option<Task>, queue: &Queue) -> bool {
        // A script wants to have said everything. A person wants to be gone now.
        let has_lines = is_disconnected && task.is_some();
        has_lines || !queue.uploads.is_empty() || self.shared.offers.lock().has_wanted()
    }

    /// Stops the file that is arriving, if the user wants that.
    fn stop_where_asked(&self, link: &Link) {
        if std::mem::take(&mut self.state.lock().stops_arriving) {
            let word = self.shared.offers.lock().stop_arriving();
            // If it fails, the connection is lost, and the file with it.
            let _ = word.map(|word| link.send(&[&word]));
        }
    }

    /// The next line of a pipe, in the middle of a dialogue. It is empty if there is none, or if the user is leaving.
    fn next_line(&self, lines: &Receiver<Typed>) -> String {
        loop {
            select! {
                recv(lines) -> typed => return match typed {
                    Ok(Typed::Line(line)) => line,
                    _ => String::new(),
                },
                recv(self.woken) -> _ => {
                    if self.is_leaving() {
                        return String::new();
                    }
                }
            }
        }
    }

    /// Does a task. Returns whether it is done. If the connection breaks meanwhile, the task stays the first one, for the next connection.
    fn do_task(
        &self,
        task: &Task,
        dialogues: &Dialogues,
        ask: &dyn Fn() -> String,
        uploads: &mut VecDeque<Upload>,
    ) -> bool {
        let _guard = self.in_dialogue.lock();
        let link = &dialogues.link;
        let outcome = match task {
            Task::Do(Action::File, argument) => {
                self.share(argument, FileToShare::open, dialogues, ask, uploads)
            }
            Task::Do(Action::Pack, argument) => {
                self.share(argument, FileToShare::pack, dialogues, ask, uploads)
            }
            Task::Do(Action::Accept, name) => self.answer_offer(name, Answer::Accept, link),
            Task::Do(Action::Decline, name) => self.answer_offer(name, Answer::Decline, link),
            task => dialogues.hold(task, ask),
        };
        let notice = match outcome {
            Ok(()) => return true,
            Err(DialogueError::NoAnswer) => {
                "No answer came; what you typed may have had no effect."
            }
            Err(DialogueError::Disconnected)
                if matches!(task, Task::Do(Action::File | Action::Pack, _)) =>
            {
                "The connection broke while the file was sent: share it again when it is back."
            }
            Err(DialogueError::Disconnected) => return false,
        };
        self.shared.show(notice);
        true
    }
}
