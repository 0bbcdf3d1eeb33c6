//! The form at the start: what was entered last, and what is wrong with an entry.
//!
//! Entries are kept in the file `window` of the user's configuration folder, one `FIELD=VALUE` a line. A field's name begins with its form,
//! `chat.` or `relay.`. Of a key or a secret only the path of its file is kept. If the person chose the file in the browser, which tells no
//! path, its content comes in an entry whose field ends with [`CONTENT`]. It is used once and not kept.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::conversation::for_page;
use super::pages::{Message, list};
use crate::client::{self, ClientSettings};
use crate::machine;
use crate::net::{one_word, parse_address};
use crate::relay::client::{self as relay_client, RelayClientSettings};
use crate::screen::Screen;
use crate::seal::{Key, KeyFileError, Secret};
use crate::wire::name::{GroupName, UserName};

/// See the module's page.
const CONTENT: &str = ".content";

/// How an error names a file that was chosen.
const CHOSEN: &str = "you chose";

/// The longest file of entries, and the longest message with them, in bytes.
pub(super) const MAX_ENTRIES: usize = 64 << 10;

/// The form. See the module's page.
pub(super) struct Form {
    /// What the command line said.
    settings: ClientSettings,
    /// The lines of the file of entries. Of two for the same field the first one counts.
    entries: Mutex<String>,
}

/// Runs a client in front of a screen until it has ended.
pub(super) type Start = Box<dyn FnOnce(Box<dyn Screen>) -> Result<(), String> + Send>;

/// The field that something is wrong with, and what.
pub(super) struct Problem(pub(super) &'static str, pub(super) String);

impl Form {
    /// With what the command line says, and what was entered last.
    pub(super) fn load(settings: ClientSettings) -> Form {
        let mut text = String::new();
        let (host, port) = (&settings.host, settings.port);
        if !host.is_empty() {
            text += &format!("tab=chat\nchat.server={}\n", one_word(host, port));
        }
        for (field, value) in [("name", &settings.name), ("group", &settings.group)] {
            text.extend(value.iter().map(|value| format!("chat.{field}={value}\n")));
        }
        if let Some(Ok(file)) = path_of_entries().map(File::open) {
            // What cannot be read is asked for anew.
            let _ = file.take(MAX_ENTRIES as u64).read_to_string(&mut text);
        }
        let entries = Mutex::new(text);
        Form { settings, entries }
    }

    /// What the page shows.
    pub(super) fn message(&self) -> Message {
        list("form", self.entries.lock().lines())
    }

    /// Keeps what was entered.
    fn keep(&self, values: &[&str]) -> Option<()> {
        let is_kept = |entry: &&&str| !entry.split('=').next().unwrap_or("").ends_with(CONTENT);
        let kept = values.iter().filter(is_kept);
        let text: String = kept.map(|entry| format!("{entry}\n")).collect();
        self.entries.lock().clone_from(&text);
        let path = path_of_entries()?;
        fs::create_dir_all(path.parent()?).ok()?;
        let mut file = machine::replace_private(&path).ok()?;
        file.write_all(text.as_bytes()).ok()
    }

    /// The group chat of the command line, if that says enough.
    pub(super) fn at_once(&self) -> Option<Start> {
        let settings = self.settings.clone();
        let names = settings.name.as_ref().zip(settings.group.as_ref());
        let is_complete = !settings.host.is_empty() && names.is_some();
        is_complete.then(|| Box::new(|screen| client::run(settings, screen)) as Start)
    }

    /// The chat of these entries. What the form does not ask for is as the command line says.
    pub(super) fn start(&self, values: &[&str]) -> Result<Start, Problem> {
        // If it cannot be kept, the next start has an empty form.
        let _ = self.keep(values);
        let entry = |field: &str| {
            let mut values = values.iter();
            values.find_map(|entry| entry.strip_prefix(field)?.strip_prefix('='))
        };
        let form = entry("tab").unwrap_or_default();
        let value = |field: &str| entry(&format!("{form}.{field}")).unwrap_or_default();
        let content = |field: &str| entry(&format!("{form}.{field}{CONTENT}"));
        for (field, words) in [
            ("server", "Enter the address of the server."),
            ("name", "Enter your name."),
            ("group", "Enter the name of the group."),
        ] {
            if value(field).is_empty() && (field != "group" || form != "relay") {
                return Err(Problem(field, words.to_owned()));
            }
        }
        let name = Some(value("name").to_owned());
        UserName::parse(value("name")).map_err(wrong("name"))?;
        if form == "relay" {
            let mut settings = RelayClientSettings::default();
            (settings.host, settings.port) = address(value("server"), 12345)?;
            (settings.name, settings.reconnect) = (name, true);
            let key = match content("key") {
                None => Key::find(path(value("key")).as_deref()),
                Some(content) => Key::of_file(Path::new(CHOSEN), content),
            };
            let key = key.map_err(wrong("key"))?;
            let run = |screen| relay_client::run_with(settings, key, screen);
            return Ok(Box::new(run));
        }
        let mut settings = self.settings.clone();
        (settings.host, settings.port) = address(value("server"), 8000)?;
        (settings.name, settings.group) = (name, Some(value("group").to_owned()));
        GroupName::parse(value("group")).map_err(wrong("group"))?;
        let file = path(value("secret")).or(settings.secret_file.take());
        let secret = held(content("secret"), file, Secret::of_file, Secret::load);
        let secret = secret.map_err(wrong("secret"))?;
        let file = path(value("roomkey")).or(settings.room_key_file.take());
        if content("roomkey").is_none() {
            settings.room_key_file.clone_from(&file);
        }
        let room_key = held(content("roomkey"), file, Key::of_file, Key::load);
        let room_key = room_key.map_err(wrong("roomkey"))?;
        let run = |screen| client::run_with(settings, secret, room_key, screen);
        Ok(Box::new(run))
    }
}

/// What is in a file: in this content of one that was chosen, or else in the one at the path, if there is any.
fn held<T>(
    content: Option<&str>,
    path: Option<PathBuf>,
    of_file: fn(&Path, &str) -> Result<T, KeyFileError>,
    load: fn(&Path) -> Result<T, KeyFileError>,
) -> Result<Option<T>, KeyFileError> {
    let held = match content {
        None => path.as_deref().map(load),
        Some(content) => Some(of_file(Path::new(CHOSEN), content)),
    };
    held.transpose()
}

/// Makes a key in this file. Returns its path.
pub(super) fn make_key(typed: &str) -> Result<PathBuf, Problem> {
    let path = path(typed).ok_or("name the file that is to be made");
    let path = path.map_err(wrong("key"))?;
    Key::create(&path).map_err(wrong("key"))?;
    Ok(std::path::absolute(&path).unwrap_or(path))
}

fn path_of_entries() -> Option<PathBuf> {
    Some(machine::configuration_folder()?.join("window"))
}

fn path(typed: &str) -> Option<PathBuf> {
    (!typed.is_empty()).then(|| machine::typed_path(typed))
}

/// What is wrong with this field.
fn wrong<E: Display>(field: &'static str) -> impl Fn(E) -> Problem {
    move |error| Problem(field, for_page(&error.to_string()))
}

/// The host and the port in an address.
fn address(text: &str, default_port: u16) -> Result<(String, u16), Problem> {
    let (host, port) = parse_address(text).map_err(wrong("server"))?;
    Ok((host, port.unwrap_or(default_port)))
}
