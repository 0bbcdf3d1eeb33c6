//! The state file: what a server remembers of its groups over a restart. It never holds what people say.
//!
//! The file is text, one record a line, with tabs between the fields. A `-` stands for a key or an address that is not known.
//!
//! ```text
//!   fernchat state 1
//!   group    NAME
//!   admin    NAME  KEY  ADDRESS     of the group above, as all that follow
//!   member   NAME  KEY  ADDRESS
//!   request  NAME  KEY  ADDRESS
//!   ban      NAME  KEY  ADDRESS
//! ```
//!
//! The server writes the whole file beside the old one and swaps it in. So a server that is killed leaves the old state or the new one.
//! A file that cannot be understood is an error at the start, and stays as it is.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::error;

use super::group::Group;
use super::member::{Holder, Member};
use super::table::GroupTable;
use crate::machine;
use crate::net::fairness::Source;
use crate::seal::PublicKey;
use crate::wire::name::{GroupName, UserName};

/// The first line of the file.
const TITLE: &str = "fernchat state 1";

/// What is written for a key or an address that is not known.
const UNKNOWN: &str = "-";

/// A change is on the disk after this time at the latest, if the disk is fast.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Where the state is kept.
pub(crate) struct StateFile(PathBuf);

impl StateFile {
    /// Reads the groups from the file, if it exists. Then writes them, to see that this is possible. The error is in words.
    pub(crate) fn load(path: &Path, table: &GroupTable) -> Result<StateFile, String> {
        let refuse = |error: String| {
            let path = path.display();
            format!(
                "cannot keep the groups in {path}: {error}; mend or remove the file, or choose another with --state"
            )
        };
        match fs::read_to_string(path) {
            Ok(text) => parse(&text, table).map_err(refuse)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refuse(error.to_string())),
        }
        let state = StateFile(path.to_owned());
        state
            .save(table)
            .map_err(|error| refuse(error.to_string()))?;
        Ok(state)
    }

    /// Saves the groups a second after they have changed, and at the end.
    pub(crate) fn saving_loop(&self, table: &GroupTable, stopped: &Receiver<()>) {
        let mut is_failing = false;
        loop {
            let wait = stopped.recv_timeout(SAVE_INTERVAL);
            let to_save = &table.changes.to_save;
            if to_save.swap(false, Ordering::Relaxed) {
                let saved = self.save(table);
                if let Err(error) = &saved {
                    to_save.store(true, Ordering::Relaxed);
                    // Said once, until it works again.
                    if !is_failing {
                        let path = self.0.display();
                        error!("cannot keep the groups in {path}: {error}; trying again");
                    }
                }
                is_failing = saved.is_err();
            }
            if wait != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Writes the file beside the old one, and swaps it in.
    fn save(&self, table: &GroupTable) -> io::Result<()> {
        let mut beside = self.0.clone().into_os_string();
        beside.push(".new");
        let mut file = machine::replace_private(Path::new(&beside))?;
        file.write_all(in_lines(table).as_bytes())?;
        // On the disk before the name is.
        file.sync_all()?;
        fs::rename(&beside, &self.0)?;
        let folder = self.0.parent().filter(|path| *path != Path::new(""));
        machine::sync_folder(folder.unwrap_or(Path::new(".")))
    }
}

/// The content of the file.
fn in_lines(table: &GroupTable) -> String {
    let mut text = format!("{TITLE}\n");
    for (name, group) in table.all() {
        let group = group.lock();
        text += &format!("group\t{name}\n");
        let mut add = |word, name: &UserName, key: Option<PublicKey>, source: Option<Source>| {
            let key = key.map_or(UNKNOWN.to_owned(), |key| key.to_string());
            let source = source.map_or(UNKNOWN.to_owned(), |source| source.to_string());
            text += &format!("{word}\t{name}\t{key}\t{source}\n");
        };
        // The admin comes first.
        let mut members: Vec<_> = group.members.iter().collect();
        members.sort_by_key(|(name, _)| **name != group.admin);
        for (name, member) in members {
            let holder = &member.holder;
            let is_admin = *name == group.admin;
            let word = if is_admin { "admin" } else { "member" };
            add(word, name, holder.key, Some(holder.source));
        }
        for (name, holder) in &group.requests {
            add("request", name, holder.key, Some(holder.source));
        }
        for ban in &group.bans.0 {
            add("ban", &ban.name, ban.key, ban.source);
        }
    }
    text
}

/// Puts the groups of the file into the table.
fn parse(text: &str, table: &GroupTable) -> Result<(), String> {
    let mut lines = text.lines().enumerate();
    if lines.next().map(|(_, line)| line) != Some(TITLE) {
        return Err(format!("line 1 is not '{TITLE}'"));
    }
    let mut group: Option<(GroupName, Group)> = None;
    for (at, line) in lines {
        parse_line(line, &mut group, table).map_err(|error| format!("line {}: {error}", at + 1))?;
    }
    finish(group, table).map_err(|error| format!("at the end: {error}"))
}

/// Reads one line. `group` is the group that the last lines were about.
fn parse_line(
    line: &str,
    group: &mut Option<(GroupName, Group)>,
    table: &GroupTable,
) -> Result<(), String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let (word, name, key, source) = match fields[..] {
        ["group", name] => {
            finish(group.take(), table)?;
            let name = GroupName::parse(name).map_err(|error| error.to_string())?;
            // The next line says who the admin is. Until then, nobody is.
            let nobody = UserName::parse(UNKNOWN).map_err(|error| error.to_string())?;
            *group = Some((name, table.new_group(nobody)));
            return Ok(());
        }
        [word, name, key, source] => (word, name, key, source),
        [_] => return Err("a name is missing".into()),
        [_, _] => return Err("the key is missing".into()),
        [_, _, _] => return Err("the address is missing".into()),
        _ => return Err("there are too many fields".into()),
    };
    let (_, group) = group.as_mut().ok_or("there is no group above")?;
    let name = UserName::parse(name).map_err(|error| error.to_string())?;
    let key: Option<PublicKey> = field(key, "key")?;
    let source: Option<Source> = field(source, "address")?;
    let holder = Holder {
        id: 0,
        source: source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()),
        key,
        client: None,
    };
    let is_twice = match word {
        "admin" if group.members.is_empty() => {
            group.admin = name.clone();
            group.members.insert(name, Member::new(holder, 0)).is_some()
        }
        "member" => group.members.insert(name, Member::new(holder, 0)).is_some(),
        "request" => group.requests.insert(name, holder).is_some(),
        "ban" => {
            let banned = group.bans.add(&name, key, source);
            return banned.map_err(|refusal| refusal.to_string());
        }
        _ => return Err(format!("'{word}' is not expected here")),
    };
    if is_twice {
        return Err("the name is there twice".into());
    }
    Ok(())
}

/// A field that may be unknown.
fn field<T: FromStr>(text: &str, what: &str) -> Result<Option<T>, String> {
    if text == UNKNOWN {
        return Ok(None);
    }
    let value = text.parse().map_err(|_| format!("this is no {what}"))?;
    Ok(Some(value))
}

/// All lines of a group have been read.
fn finish(group: Option<(GroupName, Group)>, table: &GroupTable) -> Result<(), String> {
    let Some((name, group)) = group else {
        return Ok(());
    };
    let admin = group.members.get(&group.admin);
    let source = admin.ok_or("the group has no admin")?.holder.source;
    if table.restore(name, group, source) {
        return Err("the group is there twice".into());
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests/state.rs"]
mod tests;
