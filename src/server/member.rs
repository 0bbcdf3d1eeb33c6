//! A member: who owns a name, and which lines the member has.
//!
//! A name that came with a key is for that key only, as a member's name and as that of a request. A name that came without one is in use as
//! long as a client has it.
//!
//! Each member has the number of its last line. So what it missed while it was offline is found in the [backlog](super::backlog).

use std::sync::Arc;
use std::time::Instant;

use super::backlog::Backlog;
use super::client::Client;
use super::deliveries::Deliveries;
use super::frame::Frame;
use super::refusal::Refusal;
use super::share::LastUpload;
use crate::net::connection::ClientId;
use crate::net::fairness::Source;
use crate::seal::PublicKey;
use crate::wire::command::Dialect;

/// What a group knows of a member, online or not.
pub(crate) struct Member {
    pub holder: Holder,
    /// The number of the last line that it has. While it is online, its outbox may know of later ones.
    last_line: u64,
    /// The value of `last_line` when the member last came online.
    last_line_at_join: u64,
    /// The run of its client, and the number of the last message that was taken from this run. See [`Client::run`].
    run: Arc<str>,
    last_taken: u64,
    /// The files that were on their way to its last client, while it is offline.
    pub deliveries: Deliveries,
    pub upload: Option<LastUpload>,
}

impl Member {
    /// A member that gets the lines after this one. In a box, because the map of a group of one has space for eleven.
    pub(crate) fn new(holder: Holder, last_line: u64) -> Box<Member> {
        Box::new(Member {
            holder,
            last_line,
            last_line_at_join: last_line,
            run: Arc::default(),
            last_taken: 0,
            deliveries: Deliveries::default(),
            upload: None,
        })
    }

    /// The member comes online. It gets this frame, and then the lines that it missed.
    pub(crate) fn come_online(&mut self, client: &Arc<Client>, first: &Frame, backlog: &Backlog) {
        self.last_line_at_join = self.last_line_of(client, backlog);
        self.last_line = self.last_line_at_join;
        if self.run != client.run {
            self.run = Arc::clone(&client.run);
            self.last_taken = 0;
        }
        (self.holder.id, self.holder.source) = (client.id, client.source);
        self.holder.client = Some(Arc::clone(client));
        client.set_member(true);
        client.reply(first);
        let (n_lost, missed) = backlog.since(self.last_line, &client.name);
        if n_lost == 0 && missed.is_empty() {
            // Later lines are its own.
            self.last_line = backlog.last();
        }
        client.tell_lost(n_lost);
        missed.into_iter().for_each(|line| client.send_line(line));
        let left = std::mem::take(&mut self.deliveries);
        if client.dialect == Dialect::Fernchat {
            client.offer_again(left);
        }
    }

    /// The member is offline, if this is still its client. Returns whether it is.
    pub(crate) fn go_offline(&mut self, client: &Client) -> bool {
        let its_client = self.holder.client.take_if(|online| online.id == client.id);
        if its_client.is_some() {
            self.last_line = self.last_line.max(client.outbox.written_number());
            client.set_member(false);
            let left = client.take_deliveries();
            if client.numbers_messages() {
                self.deliveries = left;
            }
            if let Some(upload) = &mut self.upload {
                upload.left_at = Some(Instant::now());
            }
        }
        its_client.is_some()
    }

    /// Takes a message with this number from the member's client. `false`: it came before, over another connection.
    pub(crate) fn takes(&mut self, number: Option<u64>) -> bool {
        let is_new = !self.has_taken(number);
        if is_new {
            self.last_taken = number.unwrap_or(self.last_taken);
        }
        is_new
    }

    /// Whether a message with this number came before.
    pub(crate) fn has_taken(&self, number: Option<u64>) -> bool {
        number.is_some_and(|number| number <= self.last_taken)
    }

    /// The member's own line has this number in the group. If the member has all lines before it, it has this one, too.
    pub(crate) fn note_own_line(&mut self, client: &Client, number: u64) {
        if self.last_line.max(client.outbox.written_number()) == number - 1 {
            self.last_line = number;
        }
    }

    /// The number of the last line that a client of this member has.
    fn last_line_of(&self, client: &Client, backlog: &Backlog) -> u64 {
        match &*client.last_mark {
            // The run has changed, or the client has none. So the client cannot say what arrived, and what was written to the member counts.
            _ if !client.numbers_messages() || client.run != self.run => self.last_line,
            // No chat line has arrived in this run. So the client has only what it had when its last connection began.
            "" => self.last_line_at_join,
            // The client names the last line that arrived. If that line is not kept any more, all kept lines came after it. They go out
            // again, because those that were written may have been lost with the connection. What the client had before it has still.
            mark => backlog
                .find(mark)
                .unwrap_or(self.last_line.min(backlog.oldest() - 1))
                .max(self.last_line_at_join),
        }
    }
}

/// Who has a name in the group, as a member or with a request.
pub(crate) struct Holder {
    /// The user's last client. Later clients have larger numbers.
    pub id: ClientId,
    /// Where that came from.
    pub source: Source,
    /// The key that came with the name, when its user asked to join or founded the group. Then nobody else can have the name.
    pub key: Option<PublicKey>,
    /// That client, while the member is online or the user waits for approval.
    pub client: Option<Arc<Client>>,
}

impl Holder {
    /// The user of this client gets the name.
    pub(crate) fn of(client: &Arc<Client>) -> Holder {
        Holder {
            id: client.id,
            source: client.source,
            key: client.user_key,
            client: Some(Arc::clone(client)),
        }
    }

    /// Whether this client may come in under the name. Returns the old client of the same user, if there is one: it must go.
    pub(crate) fn admit(&self, client: &Client) -> Result<Option<Arc<Client>>, Refusal> {
        let name = client.name.clone();
        match (&self.key, &self.client) {
            (Some(key), _) if client.user_key != Some(*key) => Err(Refusal::NameOwned(name)),
            (Some(_), old) => Ok(old.clone()),
            (None, None) => Ok(None),
            // If its connection is dead, the name is free soon.
            (None, Some(old)) if old.outbox.probe() => Err(Refusal::NameProbed(name)),
            (None, Some(_)) => Err(Refusal::NameTaken(name)),
        }
    }
}
