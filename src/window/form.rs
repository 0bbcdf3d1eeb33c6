//! The form at the start: what was entered last, and what is wrong with an entry.
//!
//! Entries are kept in the file `window` of the user's configuration folder, one `FIELD=VALUE` a line. A field's name begins with its form,
//! `chat.` or `relay.`. Of a key or a secret only the path of its file is kept.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use parking_lot::Mutex;

use super::pages::{Message, list};
use crate::client::{self, ClientSettings};
use crate::machine;
use crate::net::{one_word, parse_address};
use crate::relay::client::{self as relay_client, RelayClientSettings};
use crate::screen::Screen;
use crate::seal::{Key, Secret};
use crate::wire::name::{GroupName, UserName};

/// How much of the file of entries is read, in bytes.
const MAX_ENTRIES: u64 = 64 << 10;

/// The form. See the module's page.
pub(super) struct Form {
    /// What the command line said.
    settings: ClientSettings,
    entries: Mutex<BTreeMap<String, String>>,
}

/// Runs a client in front of a screen until it has ended.
pub(super) type Start = Box<dyn FnOnce(Box<dyn Screen>) -> Result<(), String> + Send>;

/// The field that something is wrong with, and what.
pub(super) struct Problem(pub(super) &'static str, pub(super) String);

impl Form {
    /// With what was entered last, and what the command line says.
    pub(super) fn load(settings: ClientSettings) -> Form {
        let mut text = String::new();
        if let Some(Ok(file)) = path_of_entries().map(File::open) {
            // What cannot be read is asked for anew.
            let _ = file.take(MAX_ENTRIES).read_to_string(&mut text);
        }
        let (host, port) = (&settings.host, settings.port);
        if !host.is_empty() {
            text += &format!("\ntab=chat\nchat.server={}", one_word(host, port));
        }
        for (field, value) in [("name", &settings.name), ("group", &settings.group)] {
            let line = value.iter().map(|value| format!("\nchat.{field}={value}"));
            text.extend(line);
        }
        let entries = Mutex::new(entries(text.lines()).collect());
        Form { settings, entries }
    }

    /// What the page shows.
    pub(super) fn message(&self) -> Message {
        let text = self.text();
        list("form", &text.lines().collect::<Vec<_>>())
    }

    fn text(&self) -> String {
        let entries = self.entries.lock();
        let line = |(field, value): (&String, &String)| format!("{field}={value}\n");
        entries.iter().map(line).collect()
    }

    /// Keeps what was entered.
    fn keep(&self, values: &[&str]) -> Option<()> {
        self.entries.lock().extend(entries(values.iter().copied()));
        let path = path_of_entries()?;
        fs::create_dir_all(path.parent()?).ok()?;
        let mut file = machine::replace_private(&path).ok()?;
        file.write_all(self.text().as_bytes()).ok()
    }

    /// The group chat of the command line, if that says enough.
    pub(super) fn at_once(&self) -> Option<Start> {
        let settings = self.settings.clone();
        let names = settings.name.as_ref().zip(settings.group.as_ref());
        let is_complete = !settings.host.is_empty() && names.is_some();
        is_complete.then(|| start_chat(settings))
    }

    /// The chat of these entries. What the form does not ask for is as the command line says.
    pub(super) fn start(&self, values: &[&str]) -> Result<Start, Problem> {
        // If it cannot be kept, the next start has an empty form.
        let _ = self.keep(values);
        let entries = self.entries.lock();
        let value = |field: &str| entries.get(field).map_or("", String::as_str);
        let form = value("tab");
        let value = |field: &str| value(&format!("{form}.{field}"));
        let name = Some(value("name").to_owned());
        UserName::parse(value("name")).map_err(wrong("name"))?;
        if form == "relay" {
            let (host, port) = address(value("server"), 12345)?;
            let key_file = path(value("key"));
            Key::find(key_file.as_deref()).map_err(wrong("key"))?;
            let settings = RelayClientSettings {
                host,
                port,
                name,
                key_file,
                reconnect: true,
            };
            return Ok(Box::new(|screen| relay_client::run(settings, screen)));
        }
        let (host, port) = address(value("server"), 8000)?;
        GroupName::parse(value("group")).map_err(wrong("group"))?;
        let (secret_file, room_key_file) = (path(value("secret")), path(value("roomkey")));
        let secret = secret_file.as_deref().map(Secret::load);
        secret.transpose().map_err(wrong("secret"))?;
        let room_key = room_key_file.as_deref().map(Key::load);
        room_key.transpose().map_err(wrong("roomkey"))?;
        Ok(start_chat(ClientSettings {
            host,
            port,
            name,
            group: Some(value("group").to_owned()),
            secret_file,
            room_key_file,
            ..self.settings.clone()
        }))
    }
}

/// Fields and values.
fn entries<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (String, String)> {
    let entries = lines.filter_map(|line| line.split_once('='));
    entries.map(|(field, value)| (field.to_owned(), value.to_owned()))
}

fn start_chat(settings: ClientSettings) -> Start {
    Box::new(|screen| client::run(settings, screen))
}

/// Makes a key in this file. Returns its path.
pub(super) fn make_key(typed: &str) -> Result<String, Problem> {
    let path = path(typed).ok_or("name the file that is to be made");
    let path = path.map_err(wrong("key"))?;
    Key::create(&path).map_err(wrong("key"))?;
    let path = std::path::absolute(&path).unwrap_or(path);
    Ok(path.to_string_lossy().into_owned())
}

fn path_of_entries() -> Option<PathBuf> {
    Some(machine::configuration_folder()?.join("window"))
}

fn path(typed: &str) -> Option<PathBuf> {
    (!typed.is_empty()).then(|| machine::typed_path(typed))
}

/// What is wrong with this field.
fn wrong<E: Display>(field: &'static str) -> impl Fn(E) -> Problem {
    move |error| Problem(field, error.to_string())
}

/// The host and the port in an address.
fn address(text: &str, default_port: u16) -> Result<(String, u16), Problem> {
    let (host, port) = parse_address(text).map_err(wrong("server"))?;
    Ok((host, port.unwrap_or(default_port)))
}
