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
use crate::net::connection::ClientId;
use crate::net::fairness::{Source, who_makes_room};
use crate::net::outbox::Outbox;
use crate::wire::name::UserName;

/// The most members of a group, online or not. Memory holds many times their names.
const MAX_MEMBERS: usize = 10_000;

/// The most pending requests of a group.
const MAX_REQUESTS: usize = 10_000;

/// The people of a group, and its last lines.
pub(crate) struct Group {
    admin: UserName,
    members: BTreeMap<UserName, Member>,
    requests: BTreeMap<UserName, Request>,
    backlog: Backlog,
}

/// A pending request.
struct Request {
    /// The client that made it.
    id: ClientId,
    source: Source,
    /// Its client, while it waits.
    client: Option<Arc<Client>>,
}

/// What a group knows of a member, online or not.
#[derive(Default)]
struct Member {
    /// Its client, while it is online.
    client: Option<Arc<Client>>,
    /// The number of the last line that it has. While it is online, its outbox may know of later ones.
    last_line: u64,
    /// The value of `last_line` when the member last came online.
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
        missed.into_iter().for_each(|line| client.send_line(line));
    }

    /// The number of the last line that a client of this member has.
    fn last_line_of(&self, client: &Client, backlog: &Backlog) -> u64 {
        match &*client.last_mark {
            // The run has changed, or the client has none. So the client cannot say what arrived, and what was written to the member counts.
            _ if !client.numbers_messages() || client.run != self.run => self.last_line,
            // No chat line has arrived in this run. So the client has only what it had when its last connection began.
            "" => self.joined_at,
            // The client names the last line that arrived. If that line is not kept any more, all kept lines came after it. They go out
            // again, because those that were written may have been lost with the connection. What the client had before it has still.
            mark => backlog
                .find(mark)
                .unwrap_or(self.last_line.min(backlog.oldest() - 1))
                .max(self.joined_at),
        }
    }
}

impl Group {
    /// A new group, which keeps this many lines. The client that founds it is its admin.
    pub(crate) fn found(founder: &Arc<Client>, frames: &JoinFrames, backlog: usize) -> Group {
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
    pub(crate) fn join(
        &mut self,
        client: &Arc<Client>,
        frames: &JoinFrames,
    ) -> Result<&'static str, Refusal> {
        let name = &client.name;
        let holder = match self.members.get(name) {
            Some(member) => &member.client,
            None => self
                .requests
                .get(name)
                .map_or(&None, |request| &request.client),
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
                self.drop_request(client.source)?;
            }
            self.online()
                .for_each(|member| member.send_notice(frames.request.clone()));
        }
        client.reply(&frames.wait);
        let request = Request {
            id: client.id,
            source: client.source,
            client: Some(Arc::clone(client)),
        };
        self.requests.insert(name.clone(), request);
        Ok("asks to join")
    }

    /// One request makes room for another from this source: of those whose clients wait no more, the oldest of the source with most.
    fn drop_request(&mut self, newcomer: Source) -> Result<(), Refusal> {
        let requests = self.requests.iter();
        let mut left: Vec<_> = requests.filter(|(_, it)| it.client.is_none()).collect();
        left.sort_by_key(|(_, request)| request.id);
        let holders = left.iter().map(|(name, it)| (it.source, 1, *name));
        let name = who_makes_room(holders, Some(newcomer)).ok_or(Refusal::GroupFull)?;
        self.requests.remove(&name.clone());
        Ok(())
    }

    /// The connection has ended: the member is offline, and a request stays. If the name has a new connection, that one stays.
    pub(crate) fn leave(&mut self, client: &Client) {
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
    pub(crate) fn stop_waiting(&mut self, client: &Client) -> bool {
        self.requests
            .get_mut(&client.name)
            .and_then(|request| request.client.take_if(|waiting| waiting.id == client.id))
            .is_some()
    }

    /// Whether this client may do what only the admin may. It is checked again when the client does it.
    pub(crate) fn may_decide(&self, client: &Client) -> Result<(), Refusal> {
        client.check_member()?;
        if self.admin == client.name {
            Ok(())
        } else {
            Err(Refusal::NotAdmin)
        }
    }

    /// The pending requests, for the admin.
    pub(crate) fn requests(&self, by: &Client) -> Result<Vec<UserName>, Refusal> {
        self.may_decide(by)?;
        Ok(self.requests.keys().cloned().collect())
    }

    /// The user who asked to join becomes a member. A client that waits gets `accepted`.
    pub(crate) fn approve(
        &mut self,
        by: &Client,
        name: &str,
        accepted: &Frame,
    ) -> Result<(), Refusal> {
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
    pub(crate) fn deny(&mut self, by: &Client, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
        self.may_decide(by)?;
        Ok(self.take_request(name)?.1)
    }

    fn take_request(&mut self, name: &str) -> Result<(UserName, Option<Arc<Client>>), Refusal> {
        let (name, request) = self
            .requests
            .remove_entry(name)
            .ok_or_else(|| Refusal::NoRequest(name.to_owned()))?;
        Ok((name, request.client))
    }

    /// Another member becomes the admin, and gets `notice` if it is online.
    pub(crate) fn hand_over(
        &mut self,
        by: &Client,
        name: &str,
        notice: &Frame,
    ) -> Result<(), Refusal> {
        self.may_decide(by)?;
        let Some((name, member)) = self.members.get_key_value(name) else {
            return Err(Refusal::NoMember(name.to_owned()));
        };
        if *name == self.admin {
            return Err(Refusal::AdminAlready);
        }
        self.admin = name.clone();
        if let Some(client) = &member.client {
            client.send_notice(notice.clone());
        }
        Ok(())
    }

    /// Takes a member out of the group. Returns its client if it is online: the caller ends it.
    pub(crate) fn kick(&mut self, by: &Client, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
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
    pub(crate) fn members(&self, by: &Client) -> Result<Vec<UserName>, Refusal> {
        by.check_member()?;
        Ok(self.members.keys().cloned().collect())
    }

    /// The names of the members online.
    pub(crate) fn members_online(&self, by: &Client) -> Result<Vec<UserName>, Refusal> {
        by.check_member()?;
        Ok(self.online().map(|client| client.name.clone()).collect())
    }

    /// The name of the admin.
    pub(crate) fn who_administers(&self, by: &Client) -> Result<UserName, Refusal> {
        by.check_member()?;
        Ok(self.admin.clone())
    }

    /// Passes a line on to every other member online, and keeps it for the others. If its number shows that it came before, over another
    /// connection, nothing happens.
    /// Returns the outbox of a member that has no space for more, if there is one. The caller waits for it after it has unlocked the group.
    pub(crate) fn say(
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
            // A member that comes later gets only later lines, so nobody will need this one.
            return Ok(None);
        }
        let line = self.backlog.push(&by.name, frame);
        if member.last_line.max(by.outbox.written_mark()) == line.number - 1 {
            // It has all lines before its own, so it has this one, too.
            member.last_line = line.number;
        }
        let mut full = None;
        for client in self.others(by) {
            client.send_line(line.clone());
            if !client.outbox.has_space() {
                full = Some(Arc::clone(&client.outbox));
            }
        }
        Ok(full)
    }

    /// The clients of every other member online.
    pub(crate) fn others(&self, than: &Client) -> impl Iterator<Item = &Arc<Client>> {
        let id = than.id;
        self.online().filter(move |client| client.id != id)
    }

    /// The clients of all members online.
    pub(crate) fn online(&self) -> impl Iterator<Item = &Arc<Client>> {
        let members = self.members.values();
        members.filter_map(|member| member.client.as_ref())
    }

    /// The clients of all who wait for approval.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Arc<Client>> {
        let requests = self.requests.values();
        requests.filter_map(|request| request.client.as_ref())
    }

    /// Whether the group may be forgotten if the table is full: nobody is online or waits, and the admin is the only member. The requests of
    /// people who are offline are forgotten with the group, and so is who the admin was.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.members.len() <= 1 && !self.has_clients()
    }

    /// Whether anybody is online or waits.
    pub(crate) fn has_clients(&self) -> bool {
        self.online().next().is_some() || self.waiting().next().is_some()
    }
}

#[cfg(test)]
#[path = "tests/group.rs"]
mod tests;
