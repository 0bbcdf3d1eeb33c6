//! A group: who is in it, who may do what, and the one order in which all members get its lines.
//!
//! The group knows its admin, all members (also those offline), the pending requests, and the clients of those who are online or wait.
//! Every right is checked here, when the group changes. A group has no sockets: it pushes towards its members' clients.
//!
//! Each group stands behind one mutex. While a thread holds it, it does no I/O, seals nothing and waits for nothing: frames are sealed
//! before. All lines are pushed under it, so all members get them in the same order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::backlog::Backlog;
use super::client::Client;
use super::frame::Frame;
use super::joining::JoinFrames;
use super::refusal::Refusal;
use crate::net::outbox::Outbox;
use crate::wire::name::UserName;

/// The most members of a group, online or not. Memory holds many times their names.
const MAX_MEMBERS: usize = 10_000;

/// The most pending requests of a group.
const MAX_REQUESTS: usize = 10_000;

/// See the module's page.
pub struct Group {
    admin: UserName,
    members: BTreeMap<UserName, Member>,
    /// The pending requests, with the clients of those who wait.
    requests: BTreeMap<UserName, Option<Arc<Client>>>,
    backlog: Backlog,
}

/// What a group knows of a member, online or not.
#[derive(Default)]
struct Member {
    /// Its client, while it is online.
    client: Option<Arc<Client>>,
    /// The number of the last line that it has. While it is online, its outbox may know of later ones.
    last_line: u64,
    /// What that was when it came online.
    joined_at: u64,
    /// The run of its client, and the number of the last message that was taken from this run. See [`Client::run`].
    run: Arc<str>,
    n_taken: u64,
}

impl Member {
    /// A member that gets the lines after this one.
    fn new(last_line: u64) -> Member {
        Member {
            last_line,
            joined_at: last_line,
            ..Member::default()
        }
    }

    /// The member comes online. It gets this frame, and then the lines that it missed.
    fn come_online(&mut self, client: &Arc<Client>, first: &Frame, backlog: &Backlog) {
        self.joined_at = self.last_line_of(client, backlog);
        self.last_line = self.joined_at;
        if self.run != client.run {
            self.run = Arc::clone(&client.run);
            self.n_taken = 0;
        }
        self.client = Some(Arc::clone(client));
        client.set_member(true);
        client.reply(first);
        let (n_lost, missed) = backlog.since(self.last_line, &client.name);
        if n_lost == 0 && missed.is_empty() {
            // Later lines are its own.
            self.last_line = backlog.last();
        }
        client.take_turn(|turn| turn.lost(n_lost));
        missed.into_iter().for_each(|line| client.hear_line(line));
    }

    /// The number of the last line that a client has. If it is still the same run, it knows best.
    fn last_line_of(&self, client: &Client, backlog: &Backlog) -> u64 {
        match &*client.last_mark {
            _ if client.run.is_empty() || client.run != self.run => self.last_line,
            "" => self.joined_at,
            // A mark that is not found is older than all that is kept. What was written since may have been lost with the connection.
            mark => backlog
                .find(mark)
                .unwrap_or(self.last_line.min(backlog.oldest() - 1))
                .max(self.joined_at),
        }
    }
}

impl Group {
    /// A new group, which keeps this many lines. The client that founds it is its admin.
    pub fn found(founder: &Arc<Client>, frames: &JoinFrames, backlog: usize) -> Group {
        let (name, backlog) = (founder.name.clone(), Backlog::new(backlog));
        let mut admin = Member::default();
        admin.come_online(founder, &frames.admin_ready, &backlog);
        Group {
            admin: name.clone(),
            members: BTreeMap::from([(name, admin)]),
            requests: BTreeMap::new(),
            backlog,
        }
    }

    /// A client joins, as a member or to wait. It gets step 5 before anything else from the group, and then the lines that it missed.
    /// Returns what it does, for the log.
    pub fn join(
        &mut self,
        client: &Arc<Client>,
        frames: &JoinFrames,
    ) -> Result<&'static str, Refusal> {
        let name = &client.name;
        let holder = match self.members.get(name) {
            Some(member) => &member.client,
            None => self.requests.get(name).unwrap_or(&None),
        };
        if let Some(holder) = holder {
            // If its connection is dead, the name is free soon.
            holder.outbox.probe();
            return Err(Refusal::NameTaken(name.clone()));
        }
        if let Some(member) = self.members.get_mut(name) {
            member.come_online(client, &frames.ready, &self.backlog);
            return Ok("joins");
        }
        if !self.requests.contains_key(name) {
            if self.requests.len() >= MAX_REQUESTS {
                return Err(Refusal::GroupFull);
            }
            self.online()
                .for_each(|member| member.hear(frames.request.clone()));
        }
        client.reply(&frames.wait);
        self.requests.insert(name.clone(), Some(Arc::clone(client)));
        Ok("asks to join")
    }

    /// The connection has ended: the member is offline, and a request stays. If the name has a new connection, that one stays.
    pub fn leave(&mut self, client: &Client) {
        self.stop_waiting(client);
        if let Some(member) = self.members.get_mut(&client.name) {
            let its_client = member.client.take_if(|online| online.id == client.id);
            if its_client.is_some() {
                member.last_line = member.last_line.max(client.outbox.written_mark());
                client.set_member(false);
            }
        }
    }

    /// A client that waits leaves, and its request stays. `false`: it does not wait, or not any more.
    pub fn stop_waiting(&mut self, client: &Client) -> bool {
        self.requests
            .get_mut(&client.name)
            .and_then(|waiting| waiting.take_if(|waiting| waiting.id == client.id))
            .is_some()
    }

    /// Whether this client may do what only the admin may. It is checked again when the client does it.
    pub fn may_decide(&self, client: &Client) -> Result<(), Refusal> {
        client.check_member()?;
        if self.admin == client.name {
            Ok(())
        } else {
            Err(Refusal::NotAdmin)
        }
    }

    /// The pending requests, for the admin.
    pub fn requests(&self, by: &Client) -> Result<Vec<UserName>, Refusal> {
        self.may_decide(by)?;
        Ok(self.requests.keys().cloned().collect())
    }

    /// The user who asked to join becomes a member. A client that waits gets `accepted`.
    pub fn approve(&mut self, by: &Client, name: &str, accepted: &Frame) -> Result<(), Refusal> {
        self.may_decide(by)?;
        if self.members.len() >= MAX_MEMBERS {
            return Err(Refusal::GroupFull);
        }
        let (name, waiting) = self.take_request(name)?;
        let mut member = Member::new(self.backlog.last());
        if let Some(client) = waiting {
            member.come_online(&client, accepted, &self.backlog);
        }
        self.members.insert(name, member);
        Ok(())
    }

    /// Drops a request. Returns the client that waits, if one does: the caller ends it.
    pub fn deny(&mut self, by: &Client, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
        self.may_decide(by)?;
        Ok(self.take_request(name)?.1)
    }

    fn take_request(&mut self, name: &str) -> Result<(UserName, Option<Arc<Client>>), Refusal> {
        self.requests
            .remove_entry(name)
            .ok_or_else(|| Refusal::NoRequest(name.to_owned()))
    }

    /// Another member becomes the admin, and gets `notice` if it is online.
    pub fn hand_over(&mut self, by: &Client, name: &str, notice: &Frame) -> Result<(), Refusal> {
        self.may_decide(by)?;
        let Some((name, member)) = self.members.get_key_value(name) else {
            return Err(Refusal::NoMember(name.to_owned()));
        };
        if *name == self.admin {
            return Err(Refusal::AdminAlready);
        }
        self.admin = name.clone();
        if let Some(client) = &member.client {
            client.hear(notice.clone());
        }
        Ok(())
    }

    /// Takes a member out of the group. Returns its client if it is online: the caller ends it.
    pub fn kick(&mut self, by: &Client, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
        self.may_decide(by)?;
        if self.admin.as_str() == name {
            return Err(Refusal::AdminStays);
        }
        let kicked = self.members.remove(name);
        let member = kicked.ok_or_else(|| Refusal::NoMember(name.to_owned()))?;
        if let Some(client) = &member.client {
            client.set_member(false);
        }
        Ok(member.client)
    }

    /// The names of all members.
    pub fn members(&self, by: &Client) -> Result<Vec<UserName>, Refusal> {
        by.check_member()?;
        Ok(self.members.keys().cloned().collect())
    }

    /// The names of the members online.
    pub fn members_online(&self, by: &Client) -> Result<Vec<UserName>, Refusal> {
        by.check_member()?;
        Ok(self.online().map(|client| client.name.clone()).collect())
    }

    /// The name of the admin.
    pub fn who_administers(&self, by: &Client) -> Result<UserName, Refusal> {
        by.check_member()?;
        Ok(self.admin.clone())
    }

    /// Passes a line on to every other member online, and keeps it for those who are not. A client that has a run of its own numbers
    /// its lines: one that came before, over another connection, is not passed on again.
    /// Returns the outbox of a member that has no space for more, if there is one: the caller waits for it when the group is unlocked.
    pub fn say(
        &mut self,
        by: &Client,
        number: Option<u64>,
        frame: &Frame,
    ) -> Result<Option<Arc<Outbox>>, Refusal> {
        let is_alone = self.members.len() == 1;
        by.check_member()?;
        let member = self.members.get_mut(&by.name);
        let member = member.ok_or(Refusal::NotMember)?;
        if let Some(number) = number {
            if number <= member.n_taken {
                return Ok(None);
            }
            member.n_taken = number;
        }
        if is_alone {
            return Ok(None);
        }
        let line = self.backlog.push(&by.name, frame);
        if member.last_line.max(by.outbox.written_mark()) == line.number - 1 {
            // It has all lines before its own, so it has this one, too.
            member.last_line = line.number;
        }
        let mut full = None;
        for client in self.others(by) {
            client.hear_line(line.clone());
            if !client.outbox.has_space() {
                full = Some(Arc::clone(&client.outbox));
            }
        }
        Ok(full)
    }

    /// The clients of every other member online.
    pub fn others(&self, than: &Client) -> impl Iterator<Item = &Arc<Client>> {
        let id = than.id;
        self.online().filter(move |client| client.id != id)
    }

    /// The clients of all members online.
    pub fn online(&self) -> impl Iterator<Item = &Arc<Client>> {
        let members = self.members.values();
        members.filter_map(|member| member.client.as_ref())
    }

    /// The clients of all who wait for approval.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.requests.values().flatten()
    }

    /// Whether nothing is lost if this group is forgotten: nobody is online or waits, and the admin is the only member.
    pub fn is_forgettable(&self) -> bool {
        self.members.len() <= 1 && self.online().next().is_none() && self.waiting().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testkit::{Kit, Person};
    use crate::wire::frame;

    fn names(names: &[&str]) -> Result<Vec<UserName>, Refusal> {
        Ok(names
            .iter()
            .map(|name| UserName::parse(name).unwrap())
            .collect())
    }

    fn no_request(name: &str) -> Refusal {
        Refusal::NoRequest(name.into())
    }

    fn no_member(name: &str) -> Refusal {
        Refusal::NoMember(name.into())
    }

    const CAROL_ASKS: &str = "PyChat: carol has requested to join the group.";

    #[test]
    fn first_to_join_administers_the_group() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        alice.hears(&["/adminReady"]);
        let group = alice.group.lock();
        assert_eq!(
            group.who_administers(&alice.client).unwrap().as_str(),
            "alice"
        );
        assert_eq!(group.members(&alice.client), names(&["alice"]));
    }

    #[test]
    fn request_waits_until_the_admin_approves() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        let carol = kit.joins("carol");
        carol.hears(&["/wait"]);
        alice.hears(&[CAROL_ASKS]);
        bob.hears(&[CAROL_ASKS]);
        alice.says("nobody waits for this").unwrap();
        carol.hears_nothing();

        assert_eq!(alice.approves("dave"), Err(no_request("dave")));
        assert_eq!(alice.approves("bob"), Err(no_request("bob")));
        assert_eq!(alice.approves("carol"), Ok(()));
        carol.hears(&["/accepted"]);
        carol.says("hello").unwrap();
        alice.hears(&["carol: hello"]);
        let group = alice.group.lock();
        assert_eq!(group.requests(&alice.client), names(&[]));
        assert_eq!(
            group.members(&carol.client),
            names(&["alice", "bob", "carol"])
        );
    }

    #[test]
    fn request_outlives_its_connection_and_is_told_once() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let carol = kit.joins("carol");
        alice.hears(&["/adminReady", CAROL_ASKS]);
        carol.leaves();
        let carol = kit.joins("carol");
        carol.hears(&["/wait"]);
        alice.hears_nothing();
        carol.leaves();
        assert_eq!(
            alice.group.lock().requests(&alice.client),
            names(&["carol"])
        );
        alice.approves("carol").unwrap();
        assert_eq!(
            alice.group.lock().members(&alice.client),
            names(&["alice", "carol"])
        );
        kit.joins("carol").hears(&["/ready"]);
    }

    #[test]
    fn name_of_somebody_who_is_here_is_refused() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        let carol = kit.joins("carol");
        for person in [&alice, &bob, &carol] {
            let refusal = kit.tries_to_join(person.client.name.as_str()).err();
            assert_eq!(
                refusal,
                Some(Refusal::NameTaken(person.client.name.clone()))
            );
        }
        alice.leaves();
        bob.leaves();
        kit.joins("alice").hears(&["/ready"]);
        kit.joins("bob").hears(&["/ready"]);
        // Other names, and other groups, are free.
        kit.joins("Alice").hears(&["/wait"]);
        let elsewhere = kit.tries_to_join_group("carol", "elsewhere").unwrap();
        elsewhere.hears(&["/adminReady"]);
    }

    #[test]
    fn a_member_that_was_offline_hears_what_was_said_meanwhile() {
        let kit = Kit::new();
        let [alice, bob, carol] = kit.members(["alice", "bob", "carol"]);
        bob.leaves();
        carol.leaves();
        alice.says("one").unwrap();
        kit.joins("carol").hears(&["/ready", "alice: one"]);
        // This kit's groups keep three lines.
        for text in ["two", "three", "four", "five"] {
            alice.says(text).unwrap();
        }
        kit.joins("bob").hears(&[
            "/ready",
            "PyChat: 2 earlier lines were not kept.",
            "alice: three",
            "alice: four",
            "alice: five",
        ]);
    }

    #[test]
    fn what_had_not_gone_out_when_the_connection_broke_is_heard_over_the_next() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.says("one").unwrap();
        // The writer has written this, and then the connection breaks.
        bob.client.outbox.has_written(1);
        alice.says("two").unwrap();
        bob.leaves();
        bob.says("I am not here").unwrap_err();
        alice.says("three").unwrap();
        kit.joins("bob")
            .hears(&["/ready", "alice: two", "alice: three"]);
    }

    #[test]
    fn a_client_that_is_the_same_run_says_how_far_it_has_heard_and_nothing_is_taken_twice() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        bob.leaves();
        let known = |heard: &str| kit.tries_to_join_known("bob", ("run", heard)).unwrap();
        let bob = known("");
        bob.hears(&["/ready"]);
        let lines: Vec<Frame> = ["one", "two"]
            .iter()
            .map(|text| alice.says_frame(text).unwrap())
            .collect();
        // Both were written into a link that was broken.
        bob.client.outbox.has_written(2);
        let says = |bob: &Person, number| {
            bob.group
                .lock()
                .say(&bob.client, Some(number), &kit.frame("bob: hello"))
                .unwrap()
        };
        says(&bob, 1);
        alice.hears(&["bob: hello"]);
        bob.leaves();
        let bob = known("");
        bob.hears(&["/ready", "alice: one", "alice: two"]);
        bob.leaves();
        let bob = known(&frame::mark(&lines[0].bytes));
        bob.hears(&["/ready", "alice: two"]);
        says(&bob, 1);
        alice.hears_nothing();
        says(&bob, 2);
        alice.hears(&["bob: hello"]);
        bob.leaves();
        // Another client of the same user begins anew, behind what was written.
        let bob = kit.tries_to_join_known("bob", ("other", "")).unwrap();
        bob.hears(&["/ready", "alice: two"]);
        says(&bob, 1);
        alice.hears(&["bob: hello"]);
    }

    #[test]
    fn nobody_hears_what_was_said_before_being_let_in() {
        let kit = Kit::new();
        let [alice, _bob] = kit.members(["alice", "bob"]);
        let carol = kit.tries_to_join_known("carol", ("run", "")).unwrap();
        let line = alice.says_frame("among us").unwrap();
        alice.approves("carol").unwrap();
        carol.hears(&["/wait", "/accepted"]);
        carol.leaves();
        kit.tries_to_join_known("carol", ("run", &frame::mark(&line.bytes)))
            .unwrap()
            .hears(&["/ready"]);
    }

    #[test]
    fn who_was_let_in_while_waiting_hears_nothing_from_before_over_another_connection_either() {
        let kit = Kit::new();
        let [alice, _bob] = kit.members(["alice", "bob"]);
        for (name, first, then) in [
            ("carol", ("", ""), ("", "")),
            ("dave", ("run", ""), ("other run", "")),
            (
                "erin",
                ("run", "a mark of an older server"),
                ("run", "a mark of an older server"),
            ),
        ] {
            let waiting = kit.tries_to_join_known(name, first).unwrap();
            alice.says("among us").unwrap();
            alice.approves(name).unwrap();
            waiting.leaves();
            kit.tries_to_join_known(name, then)
                .unwrap()
                .hears(&["/ready"]);
        }
    }

    #[test]
    fn a_mark_that_is_not_kept_any_more_loses_no_line_that_is() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        bob.leaves();
        let known = |heard: &str| kit.tries_to_join_known("bob", ("run", heard)).unwrap();
        let bob = known("");
        let lines = ["1", "2", "3"].map(|text| alice.says_frame(text).unwrap());
        // All were written, but 2 and 3 into a link that was broken.
        bob.client.outbox.has_written(3);
        bob.leaves();
        alice.says("4").unwrap();
        known(&frame::mark(&lines[0].bytes)).hears(&["/ready", "alice: 2", "alice: 3", "alice: 4"]);
    }

    #[test]
    fn one_s_own_lines_are_never_missing() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        let hi = bob.says_frame("hi").unwrap();
        alice.leaves();
        let says = |alice: &Person, numbers: std::ops::Range<u64>| {
            numbers.for_each(|n| {
                alice
                    .group
                    .lock()
                    .say(&alice.client, Some(n), &kit.frame("alice: x"))
                    .unwrap();
            });
        };
        let alice = kit.tries_to_join_known("alice", ("run", "")).unwrap();
        alice.client.outbox.has_written(1);
        says(&alice, 1..3);
        alice.leaves();
        let alice = kit
            .tries_to_join_known("alice", ("run", &frame::mark(&hi.bytes)))
            .unwrap();
        says(&alice, 3..9);
        alice.leaves();
        kit.tries_to_join_known("alice", ("another run", ""))
            .unwrap()
            .hears(&["/ready"]);
    }

    #[test]
    fn rights_are_the_admin_s_and_those_of_members() {
        let kit = Kit::new();
        let [alice, bob, kicked, gone] = kit.members(["alice", "bob", "kicked", "gone"]);
        alice.kicks("kicked").unwrap();
        gone.leaves();
        let carol = kit.joins("carol");
        let cases = [
            (&bob, Refusal::NotAdmin, true),
            (&carol, Refusal::NotMember, false),
            (&kicked, Refusal::NotMember, false),
            (&gone, Refusal::NotMember, false),
        ];
        for (person, refusal, is_member) in cases {
            assert_eq!(person.approves("carol"), Err(refusal.clone()));
            assert_eq!(person.denies("carol").err(), Some(refusal.clone()));
            assert_eq!(person.kicks("alice").err(), Some(refusal.clone()));
            assert_eq!(person.kicks("bob").err(), Some(refusal.clone()));
            assert_eq!(person.hands_over("bob"), Err(refusal.clone()));
            let group = person.group.lock();
            assert_eq!(group.requests(&person.client), Err(refusal.clone()));
            assert_eq!(group.may_decide(&person.client), Err(refusal));
            let refused = (!is_member).then_some(Refusal::NotMember);
            assert_eq!(group.members(&person.client).err(), refused);
            assert_eq!(group.members_online(&person.client).err(), refused);
            assert_eq!(group.who_administers(&person.client).err(), refused);
            assert_eq!(person.client.check_member().is_ok(), is_member);
            drop(group);
            assert_eq!(person.says("hi").err(), refused);
        }
        alice.hears(&[CAROL_ASKS, "bob: hi"]);
        let group = alice.group.lock();
        assert_eq!(group.may_decide(&alice.client), Ok(()));
        assert_eq!(group.requests(&alice.client), names(&["carol"]));
        assert_eq!(group.members(&bob.client), names(&["alice", "bob", "gone"]));
        assert_eq!(group.members_online(&bob.client), names(&["alice", "bob"]));
    }

    #[test]
    fn denied_request_is_dropped_and_may_be_made_again() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let carol = kit.joins("carol");
        assert_eq!(alice.denies("dave").err(), Some(no_request("dave")));
        assert_eq!(alice.denies("alice").err(), Some(no_request("alice")));
        let client = alice.denies("carol").unwrap();
        assert_eq!(client.map(|client| client.id), Some(carol.client.id));
        assert_eq!(alice.approves("carol"), Err(no_request("carol")));
        carol.leaves();
        kit.joins("carol").leaves();
        alice.hears(&["/adminReady", CAROL_ASKS, CAROL_ASKS]);
        // Nobody waits for the answer this time.
        assert!(alice.denies("carol").unwrap().is_none());
    }

    #[test]
    fn kicked_member_is_out_at_once_and_must_ask_again() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        assert_eq!(alice.kicks("dave").err(), Some(no_member("dave")));
        assert_eq!(alice.kicks("alice").err(), Some(Refusal::AdminStays));
        let client = alice.kicks("bob").unwrap();
        assert_eq!(client.map(|client| client.id), Some(bob.client.id));
        alice.says("without bob").unwrap();
        bob.hears_nothing();
        let again = kit.joins("bob");
        again.hears(&["/wait"]);
        // The kicked connection says goodbye late.
        bob.leaves();
        alice.approves("bob").unwrap();
        again.hears(&["/accepted"]);

        again.leaves();
        assert!(alice.kicks("bob").unwrap().is_none(), "offline");
        kit.joins("bob").hears(&["/wait"]);
    }

    #[test]
    fn admin_hands_over_to_any_member_and_loses_the_role() {
        let kit = Kit::new();
        let [alice, bob, gone] = kit.members(["alice", "bob", "gone"]);
        gone.leaves();
        let carol = kit.joins("carol");
        assert_eq!(alice.hands_over("dave"), Err(no_member("dave")));
        assert_eq!(alice.hands_over("carol"), Err(no_member("carol")));
        assert_eq!(alice.hands_over("alice"), Err(Refusal::AdminAlready));
        bob.hears(&[CAROL_ASKS]);
        assert_eq!(alice.hands_over("bob"), Ok(()));
        bob.hears(&["PyChat: it is yours"]);
        assert_eq!(alice.approves("carol"), Err(Refusal::NotAdmin));
        assert_eq!(bob.kicks("bob").err(), Some(Refusal::AdminStays));
        assert_eq!(bob.approves("carol"), Ok(()));
        carol.hears(&["/wait", "/accepted"]);

        assert_eq!(bob.hands_over("gone"), Ok(()));
        assert!(bob.kicks("alice").is_err());
        let back = kit.joins("gone");
        back.hears(&["/ready"]);
        assert!(back.kicks("alice").is_ok());
    }

    #[test]
    fn all_members_hear_the_same_lines_in_one_order() {
        let kit = Kit::new();
        let [alice, bob, carol, gone] = kit.members(["alice", "bob", "carol", "gone"]);
        gone.leaves();
        assert!(carol.opens_dialogue());
        alice.says("one").unwrap();
        bob.says("two").unwrap();
        carol.says("three").unwrap();
        alice.says("four").unwrap();
        alice.hears(&["bob: two", "carol: three"]);
        bob.hears(&["alice: one", "carol: three", "alice: four"]);
        carol.hears_nothing();
        carol.closes_dialogue();
        carol.hears(&["alice: one", "bob: two", "alice: four"]);
        gone.hears_nothing();
    }

    #[test]
    fn late_goodbye_takes_nobody_else_s_seat() {
        let kit = Kit::new();
        let [alice, old] = kit.members(["alice", "bob"]);
        old.leaves();
        let new = kit.joins("bob");
        old.leaves();
        alice.says("hello").unwrap();
        new.hears(&["/ready", "alice: hello"]);
        assert_eq!(old.says("I am gone"), Err(Refusal::NotMember));

        let old = kit.joins("carol");
        old.leaves();
        let new = kit.joins("carol");
        old.leaves();
        assert!(!old.stops_waiting());
        alice.approves("carol").unwrap();
        new.hears(&["/wait", "/accepted"]);
    }

    #[test]
    fn goodbye_of_one_who_waits_is_ignored_when_it_crosses_with_the_approval() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let carol = kit.joins("carol");
        alice.approves("carol").unwrap();
        assert!(!carol.stops_waiting());
        carol.hears(&["/wait", "/accepted"]);
        alice.says("welcome").unwrap();
        carol.hears(&["alice: welcome"]);

        let dave = kit.joins("dave");
        assert!(dave.stops_waiting());
        alice.approves("dave").unwrap();
        dave.hears(&["/wait", "/waitDisconnect"]);
        kit.joins("dave").hears(&["/ready"]);
    }

    #[test]
    fn group_has_room_for_so_many_members_and_requests() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let name = |n| UserName::parse(&format!("user {n}")).unwrap();
        let mut group = alice.group.lock();
        group.requests = (1..MAX_REQUESTS).map(|n| (name(n), None)).collect();
        drop(group);
        let carol = kit.joins("carol");
        assert_eq!(kit.tries_to_join("dave").err(), Some(Refusal::GroupFull));
        carol.leaves();
        kit.joins("carol").hears(&["/wait"]);

        let mut group = alice.group.lock();
        group
            .members
            .extend((2..MAX_MEMBERS).map(|n| (name(n), Member::default())));
        drop(group);
        assert_eq!(alice.approves("user 1"), Ok(()));
        assert_eq!(alice.approves("carol"), Err(Refusal::GroupFull));
        alice.kicks("user 2").unwrap();
        assert_eq!(alice.approves("carol"), Ok(()));
    }

    #[test]
    fn group_is_forgettable_when_its_admin_alone_is_left_and_offline() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let is_forgettable = || alice.group.lock().is_forgettable();
        assert!(!is_forgettable());
        alice.leaves();
        assert!(is_forgettable());
        let alice = kit.joins("alice");
        kit.joins("bob").leaves();
        alice.approves("bob").unwrap();
        alice.leaves();
        assert!(!is_forgettable(), "bob is a member");
        let alice = kit.joins("alice");
        alice.kicks("bob").unwrap();
        let carol = kit.joins("carol");
        alice.leaves();
        assert!(!is_forgettable(), "carol waits");
        carol.leaves();
        assert!(is_forgettable(), "who has asked and left can ask again");
    }
}
