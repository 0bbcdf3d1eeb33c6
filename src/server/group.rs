//! A group: who is in it, who may do what, and the one order in which all members get its lines.
//!
//! The group knows its admin, all members (also those offline), the pending requests, and the clients of those who are online or wait.
//! Every right is checked here, when the group changes. A group has no sockets: it pushes towards its members' clients.
//!
//! Each group stands behind one mutex. While a thread holds it, it does no I/O and waits for nothing, and lines are sealed before. All lines
//! are pushed under it, so all members get them in the same order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::announcer::Announcer;
use super::backlog::Backlog;
use super::bans::Bans;
use super::client::Client;
use super::deliveries::Delivery;
use super::frame::Frame;
use super::joining::JoinFrames;
use super::member::{Holder, Member};
use super::refusal::Refusal;
use super::share::LastUpload;
use super::table::Changes;
use crate::net::fairness::{Source, who_makes_room};
use crate::net::outbox::Outbox;
use crate::wire::command::Dialect;
use crate::wire::name::UserName;

/// The most members of a group, online or not. Memory holds many times their names.
const MAX_MEMBERS: usize = 10_000;

/// The most members online of a group whose members hear who comes and goes.
const MAX_NEWS: usize = 100;

/// Why a client ends whose user has joined with another one.
const TAKEN_OVER: &str = "its user has connected again";

/// The most pending requests of a group.
const MAX_REQUESTS: usize = 10_000;

/// The people of a group, and its last lines.
pub(crate) struct Group {
    pub(super) admin: UserName,
    pub(super) members: BTreeMap<UserName, Box<Member>>,
    /// The pending requests.
    pub(super) requests: BTreeMap<UserName, Holder>,
    pub(super) bans: Bans,
    pub(super) announcer: Announcer,
    pub(super) backlog: Backlog,
    changes: Arc<Changes>,
}

impl Group {
    /// A new group without members.
    pub(crate) fn new(admin: UserName, backlog: Backlog, changes: &Arc<Changes>) -> Group {
        Group {
            admin,
            members: BTreeMap::new(),
            requests: BTreeMap::new(),
            bans: Bans::default(),
            announcer: Announcer::default(),
            backlog,
            changes: Arc::clone(changes),
        }
    }

    /// The first client of the group is its admin.
    pub(crate) fn found(&mut self, founder: &Arc<Client>, frames: &JoinFrames) {
        let mut admin = Member::new(Holder::of(founder), 0);
        admin.come_online(founder, &frames.admin_ready, &self.backlog);
        self.members.insert(founder.name.clone(), admin);
        self.note_change();
    }

    /// A client joins, as a member or to wait. It gets step 5 before anything else from the group, and then the lines that it missed.
    /// Returns what it does, for the log.
    pub(crate) fn join(
        &mut self,
        client: &Arc<Client>,
        frames: &JoinFrames,
    ) -> Result<&'static str, Refusal> {
        if let Some(member) = self.members.get_mut(&client.name) {
            let old = member.holder.admit(client)?;
            let is_again = old.is_some();
            if let Some(old) = old {
                old.end(vec![frames.taken_over.clone()], TAKEN_OVER);
                member.go_offline(&old);
            }
            member.come_online(client, &frames.ready, &self.backlog);
            if !is_again {
                self.spread(client.name.as_str(), &frames.joined);
            }
            return Ok("joins");
        }
        self.bans.check(client)?;
        let is_new = match self.requests.get(&client.name) {
            Some(request) => {
                if let Some(old) = request.admit(client)? {
                    old.end(vec![frames.taken_over.clone()], TAKEN_OVER);
                }
                // The same name without the same key may be another person.
                let is_elsewhere = request.source != client.source;
                request.key.is_none() && (client.user_key.is_some() || is_elsewhere)
            }
            None => {
                self.check_look_alikes(client)?;
                if self.requests.len() >= MAX_REQUESTS {
                    self.drop_request(client.source)?;
                }
                true
            }
        };
        client.reply(&frames.wait);
        self.requests
            .insert(client.name.clone(), Holder::of(client));
        if is_new {
            self.note_change();
            if self.announcer.announces(&client.name, Instant::now()) {
                for member in self.online() {
                    member.send_notice(frames.request_for(member.dialect).clone());
                }
            } else {
                self.changes.to_tell.store(true, Ordering::Relaxed);
            }
        }
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

    /// Refuses a new name that people could take for one that the group knows.
    fn check_look_alikes(&self, client: &Client) -> Result<(), Refusal> {
        let mut names = self.members.keys().chain(self.requests.keys());
        let similar = names.find(|name| name.looks_like(&client.name));
        similar.map_or(Ok(()), |name| Err(Refusal::LooksLike(name.clone())))
    }

    fn note_change(&self) {
        self.changes.to_save.store(true, Ordering::Relaxed);
    }

    /// The connection has ended: the member is offline, and a request stays. If the name has a new connection, that one stays. Returns
    /// whether a member has gone offline.
    pub(crate) fn leave(&mut self, client: &Client) -> bool {
        self.stop_waiting(client);
        let member = self.members.get_mut(&client.name);
        member.is_some_and(|member| member.go_offline(client))
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

    /// The user who asked to join becomes a member. A client that waits gets `accepted`. Returns whether there is one.
    pub(crate) fn approve(
        &mut self,
        by: &Client,
        name: &str,
        accepted: &Frame,
    ) -> Result<bool, Refusal> {
        self.may_decide(by)?;
        if self.members.len() >= MAX_MEMBERS {
            return Err(Refusal::GroupFull);
        }
        let (name, mut request) = self.take_request(name)?;
        let waiting = request.client.take();
        let mut member = Member::new(request, self.backlog.last());
        if let Some(client) = &waiting {
            member.come_online(client, accepted, &self.backlog);
        }
        self.members.insert(name, member);
        Ok(waiting.is_some())
    }

    /// Drops a request. Returns the client that waits, if one does: the caller ends it.
    pub(crate) fn deny(&mut self, by: &Client, name: &str) -> Result<Option<Arc<Client>>, Refusal> {
        self.may_decide(by)?;
        Ok(self.take_request(name)?.1.client)
    }

    fn take_request(&mut self, name: &str) -> Result<(UserName, Holder), Refusal> {
        self.note_change();
        self.announcer.forget(name);
        self.requests
            .remove_entry(name)
            .ok_or_else(|| Refusal::NoRequest(name.to_owned()))
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
        if let Some(client) = &member.holder.client {
            client.send_notice(notice.clone());
        }
        self.admin = name.clone();
        self.note_change();
        Ok(())
    }

    /// Takes a member out of the group. The caller ends its client, if it is online.
    pub(crate) fn kick(&mut self, by: &Client, name: &str) -> Result<Box<Member>, Refusal> {
        self.may_decide(by)?;
        if self.admin.as_str() == name {
            return Err(Refusal::AdminStays);
        }
        let kicked = self.members.remove(name);
        let member = kicked.ok_or_else(|| Refusal::NoMember(name.to_owned()))?;
        self.announcer.forget(name);
        if let Some(client) = &member.holder.client {
            client.set_member(false);
        }
        self.note_change();
        Ok(member)
    }

    /// Keeps a user out for good: the name, the key that came with it, and the address if that is wanted. A member is kicked, and a request
    /// is denied. Returns the client, if one is there: the caller ends it.
    pub(crate) fn ban(
        &mut self,
        by: &Client,
        name: UserName,
        with_address: bool,
    ) -> Result<Banned, Refusal> {
        self.may_decide(by)?;
        if self.admin.looks_like(&name) {
            return Err(Refusal::AdminStays);
        }
        let member = self.members.get(&name).map(|member| &member.holder);
        let holder = member.or_else(|| self.requests.get(&name));
        let key = holder.and_then(|holder| holder.key);
        let source = holder.map(|holder| holder.source);
        self.bans.add(&name, key, source.filter(|_| with_address))?;
        self.note_change();
        Ok(if self.members.contains_key(&name) {
            Banned::Member(self.kick(by, name.as_str())?)
        } else {
            let request = self.requests.remove(&name);
            Banned::Other(request.and_then(|request| request.client))
        })
    }

    /// Lets a banned user ask again.
    pub(crate) fn unban(&mut self, by: &Client, name: &UserName) -> Result<(), Refusal> {
        self.may_decide(by)?;
        self.note_change();
        self.bans.remove(name)
    }

    /// The names that are banned, for the admin.
    pub(crate) fn banned(&self, by: &Client) -> Result<Vec<UserName>, Refusal> {
        self.may_decide(by)?;
        Ok(self.bans.names())
    }

    /// What the group knows of a name, in words.
    pub(crate) fn who_is(&self, by: &Client, name: &str) -> Result<String, Refusal> {
        by.check_member()?;
        let (holder, role) = match self.members.get(name) {
            Some(member) if self.admin.as_str() == name => (&member.holder, "the admin"),
            Some(member) => (&member.holder, "a member"),
            None => match self.requests.get(name) {
                Some(request) => (request, "asks to join"),
                None => return Err(Refusal::NoMember(name.to_owned())),
            },
        };
        let is_online = holder.client.is_some();
        let online = if is_online { "online" } else { "offline" };
        let proof = match &holder.key {
            Some(key) => format!("name proven by the key {}", key.fingerprint()),
            None => "name not proven: it came without a key".to_owned(),
        };
        Ok(format!("{name}: {role}, {online}, {proof}"))
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
        by.check_member()?;
        // A member that comes later gets only later lines. So if this one is alone, nobody will need its line.
        let is_alone = self.members.len() == 1;
        let member = self.members.get_mut(&by.name);
        let member = member.ok_or(Refusal::NotMember)?;
        if !member.takes(number) || is_alone {
            return Ok(None);
        }
        let line = self.backlog.push(&by.name, frame);
        member.note_own_line(by, line.number);
        let mut full = None;
        for client in self.others(by) {
            client.send_line(line.clone());
            if !client.outbox.has_space() {
                full = Some(Arc::clone(&client.outbox));
            }
        }
        Ok(full)
    }

    /// Passes a line on to one member that is online. It is not kept. Otherwise as [`Group::say`].
    pub(crate) fn tell(
        &mut self,
        by: &Client,
        number: Option<u64>,
        name: &str,
        [for_python, for_fernchat]: [&Frame; 2],
    ) -> Result<Option<Arc<Outbox>>, Refusal> {
        by.check_member()?;
        let own = self.members.get(&by.name).ok_or(Refusal::NotMember)?;
        if own.has_taken(number) {
            return Ok(None);
        }
        let member = self.members.get(name);
        let member = member.ok_or_else(|| Refusal::NoMember(name.to_owned()))?;
        let client = member.holder.client.clone();
        let client = client.ok_or_else(|| Refusal::NotOnline(name.to_owned()))?;
        if let Some(own) = self.members.get_mut(&by.name) {
            own.takes(number);
        }
        let frame = match client.dialect {
            Dialect::Python => for_python,
            Dialect::Fernchat => for_fernchat,
        };
        client.send_notice(frame.clone());
        Ok((!client.outbox.has_space()).then(|| Arc::clone(&client.outbox)))
    }

    /// Tells members with fernchat clients what has become of the member of this name.
    pub(crate) fn spread(&self, name: &str, news: &Frame) {
        if self.online().nth(MAX_NEWS).is_some() {
            return;
        }
        let others = self.online().filter(|client| client.name.as_str() != name);
        for client in others.filter(|client| client.dialect == Dialect::Fernchat) {
            client.send_notice(news.clone());
        }
    }

    /// The clients of every other member online.
    pub(crate) fn others(&self, than: &Client) -> impl Iterator<Item = &Arc<Client>> {
        let id = than.id;
        self.online().filter(move |client| client.id != id)
    }

    /// Whether no other member online has a client of this kind.
    pub(crate) fn has_no_other(&self, than: &Client, dialect: Dialect) -> bool {
        self.others(than).all(|client| client.dialect != dialect)
    }

    /// The client of the member of this name, if it is online.
    pub(crate) fn client_of(&self, name: &UserName) -> Option<Arc<Client>> {
        self.members.get(name)?.holder.client.clone()
    }

    /// Takes the files whose members have been offline for too long. They are dropped without the lock.
    pub(crate) fn take_late_files(&mut self, now: Instant) -> (Vec<Delivery>, Vec<LastUpload>) {
        let mut late = (Vec::new(), Vec::new());
        for member in self.members.values_mut() {
            late.0.extend(member.deliveries.tick());
            late.1.extend(member.upload.take_if(|it| it.is_old(now)));
        }
        late
    }

    /// The member whose last client this is.
    pub(crate) fn member_of(&mut self, client: &Client) -> Option<&mut Member> {
        let member = self.members.get_mut(&client.name)?;
        (member.holder.id == client.id).then_some(member)
    }

    /// The clients of all members online.
    pub(crate) fn online(&self) -> impl Iterator<Item = &Arc<Client>> {
        let members = self.members.values();
        members.filter_map(|member| member.holder.client.as_ref())
    }

    /// The clients of all who wait for approval.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Arc<Client>> {
        let requests = self.requests.values();
        requests.filter_map(|request| request.client.as_ref())
    }

    /// Whether the group may be forgotten if the table is full: nobody is online or waits, and the admin is the only member. The requests of
    /// people who are offline are forgotten with the group, and so is who the admin was.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.members.len() <= 1 && self.clients().next().is_none()
    }

    /// The clients of all who are online or wait.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.online().chain(self.waiting())
    }
}

/// Who was banned.
pub(crate) enum Banned {
    Member(Box<Member>),
    /// Somebody who has asked to join, with the client if it waits, or somebody who was not known.
    Other(Option<Arc<Client>>),
}

#[cfg(test)]
#[path = "tests/group.rs"]
mod tests;
