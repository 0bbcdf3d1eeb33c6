//! The names of users, groups and files. Each kind has a type, and its values can only be made from legal names.
//!
//! User and group names are parsed. A text that breaks a rule is refused, and the refusal says which rule. Nothing is repaired,
//! because a name that is quietly changed is another person's name.
//! File names are never refused: every text becomes some safe name, because the bytes of the file come in any case.
//!
//! Not here: which names are taken (the group's roster), and what is shown in place of a harmful character (the terminal).
//! User names that look alike have the same [skeleton](UserName::looks_like). Limit: letters of other scripts are not compared, so a
//! name all in Cyrillic may look like one in Latin letters.
//! Invariant: the fields are private, and `parse` and `from_peer` are the only ways in. A `FileName` is one path component, never `.` or `..`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

use super::command::{ADMIN, PYCHAT};

/// The name of a user. It has no colon, because in a chat line, `NAME: TEXT`, the colon ends it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName {
    text: Arc<str>,
    /// See [`skeleton`]. It follows from the text, so it changes no comparison.
    skeleton: Arc<str>,
}

impl UserName {
    /// Reads a user name. Names that differ only in case are different users.
    ///
    /// # Errors
    /// The text breaks a rule. The server refuses to let the client join, the client asks its user again.
    pub fn parse(text: &str) -> Result<UserName, NameError> {
        check("user name", text)?;
        if text.contains(':') {
            return Err(NameError("a user name has no colon".into()));
        }
        if mixes_scripts(text) {
            let rule = "a user name does not mix Latin letters with Cyrillic or Greek ones";
            return Err(NameError(rule.into()));
        }
        let skeleton = skeleton(text);
        if skeleton.chars().all(char::is_whitespace) {
            return Err(NameError("a user name shows at least one letter".into()));
        }
        match RESERVED.iter().find(|name| skeleton == name.to_lowercase()) {
            Some(name) => Err(NameError(format!(
                "the user name {name} is reserved for the server"
            ))),
            None => Ok(UserName {
                text: text.into(),
                skeleton: skeleton.into(),
            }),
        }
    }

    /// Whether a person may take one name for the other: they differ in nothing but case, in how letters are composed, and in what
    /// does not show.
    pub fn looks_like(&self, other: &UserName) -> bool {
        self.skeleton == other.skeleton
    }

    /// The name as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Names under which the server itself speaks, or that its answers put in front of a name (`Admin: NAME`).
const RESERVED: [&str; 2] = [PYCHAT, ADMIN];

/// A map of names can be asked with the text that a peer sent.
impl Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text in Normalization Form C (Unicode Standard Annex #15), in lower case, and without what does not show.
fn skeleton(text: &str) -> String {
    let shown = |c: &char| !is_unseen(*c);
    let lower_case = text.nfc().collect::<String>().to_lowercase();
    lower_case.nfc().filter(shown).collect()
}

/// Whether letters of two scripts stand in one name that have many letters of the same look.
fn mixes_scripts(text: &str) -> bool {
    let is_latin =
        |c| matches!(c, 'a'..='z' | 'A'..='Z' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}');
    let is_cyrillic = |c| matches!(c, '\u{400}'..='\u{52F}' | '\u{1C80}'..='\u{1C8F}' | '\u{2DE0}'..='\u{2DFF}' | '\u{A640}'..='\u{A69F}');
    let is_greek = |c| matches!(c, '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}');
    let has = |is_of: fn(char) -> bool| text.chars().any(is_of);
    has(is_latin) && (has(is_cyrillic) || has(is_greek))
}

/// The name of a group: like a user name, but colons are allowed and nothing is reserved, because no line begins with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// Reads a group name. Names that differ only in case are different groups.
    ///
    /// # Errors
    /// As for [`UserName::parse`].
    pub fn parse(text: &str) -> Result<GroupName, NameError> {
        check("group name", text)?;
        Ok(GroupName(text.into()))
    }

    /// The name as it goes on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest user or group name, in characters. A full name in any script fits, and a chat line still fits a terminal.
pub(crate) const MAX_NAME_CHARACTERS: usize = 64;

/// The rules that user and group names share. A name does not begin like a command, a denial (`!NAME`) or `~error~`.
fn check(kind: &str, text: &str) -> Result<(), NameError> {
    let n_characters = text.chars().count();
    let rule = if !(1..=MAX_NAME_CHARACTERS).contains(&n_characters) {
        format!("has 1 to {MAX_NAME_CHARACTERS} characters, this one has {n_characters}")
    } else if let Some(c) = text
        .chars()
        .find(|&c| is_harmful(c) || is_unseen(c) && !MAY_JOIN.contains(&c))
    {
        let code = u32::from(c);
        format!("has no invisible or control characters, this one has U+{code:04X}")
    } else if text.starts_with(is_blank) || text.ends_with(is_blank) {
        "does not begin or end with a blank".to_owned()
    } else if text.starts_with(['/', '!', '~']) {
        "does not begin with / or ! or ~".to_owned()
    } else {
        return Ok(());
    };
    Err(NameError(format!("a {kind} {rule}")))
}

/// The rule that a user or group name breaks, in words for an error line and for a refusal. They never repeat the name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NameError(pub String);

/// Whether a character can deceive a reader or steer a terminal: the one list of the characters that reach no name and no terminal.
/// The joiners U+200C and U+200D are not on it, because Persian, Indic scripts and many emoji cannot be written without them.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' // bidirectional
            | '\u{2028}' | '\u{2029}' // line and paragraph separator
            | '\u{200B}' | '\u{2060}'..='\u{2064}' | '\u{206A}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' // invisible
        )
}

/// Whether a character does not show: Default_Ignorable_Code_Point (Unicode Standard Annex #44), and letters that look like a blank.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// What does not show, and a name may have all the same: Persian, Indic scripts and many emoji cannot be written without it.
const MAY_JOIN: [char; 3] = ['\u{200C}', '\u{200D}', '\u{FE0F}'];

/// Whether a character shows as nothing at the edge of a name: white space, or a joiner that joins nothing.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200C}' | '\u{200D}')
}

/// The name under which a file is offered and saved: one path component that every common system accepts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

impl FileName {
    /// Makes a safe name of what a peer says, or of the last component of a local path. A safe name comes back as it is.
    ///
    /// - Only what follows the last `/` or `\` and a drive letter stays. If that is nothing, the name is `unnamed`.
    /// - Harmful characters, and those that Windows forbids, become `_`. Blanks at both ends and dots at the end go.
    /// - `_` is put before the device names of Windows (`_NUL.txt`), and before a leading `.`, `~` or `-`. Nobody would see a received
    ///   `.bashrc`, a `~error~` means something else on the wire, and `-` begins an option of a shell.
    /// - At most 255 bytes stay, with the extension if it is short.
    pub fn from_peer(text: &str) -> FileName {
        let base = text.rsplit(['/', '\\']).next().unwrap_or_default();
        let base = match base.as_bytes() {
            [letter, b':', ..] if letter.is_ascii_alphabetic() => &base[2..],
            _ => base,
        };
        let clean = base.replace(is_unsafe_in_file, "_");
        let clean = trim_end(clean.trim_start_matches(is_blank));
        if clean.is_empty() {
            return FileName("unnamed".into());
        }
        let needs_guard = clean.starts_with(['.', '~', '-']) || is_device(clean);
        let guard = if needs_guard { "_" } else { "" };
        FileName(fitted(&format!("{guard}{clean}"), "").into())
    }

    /// The same name with a number, `name (1).ext`, for a folder where the name is taken. Still at most 255 bytes.
    pub fn numbered(&self, n: u32) -> FileName {
        FileName(fitted(&self.0, &format!(" ({n})")).into())
    }

    /// The name as it goes on the wire and into a folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Harmful, or forbidden in file names by Windows. The separators are gone before; a colon would also open an NTFS stream.
fn is_unsafe_in_file(c: char) -> bool {
    is_harmful(c) || matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// Windows drops dots and blanks at the end of a name, so that two names would be one file.
fn trim_end(name: &str) -> &str {
    name.trim_end_matches(|c| c == '.' || is_blank(c))
}

/// Whether Windows takes a name for a device. It looks at the word before the first dot or blank, in any case.
/// The digit of a port may be a superscript.
fn is_device(name: &str) -> bool {
    let end = name.find(|c| c == '.' || is_blank(c));
    let word = name[..end.unwrap_or(name.len())].to_ascii_uppercase();
    let port = word.strip_prefix("COM").or(word.strip_prefix("LPT"));
    let is_one_digit = |text: &str| text.chars().count() == 1 && text.contains(char::is_numeric);
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&word.as_str())
        || port.is_some_and(is_one_digit)
}

/// The longest file name, in bytes of UTF-8: the limit of nearly every Unix file system. Windows allows more: 255 units of UTF-16.
const MAX_FILE_NAME_LEN: usize = 255;

/// The longest extension that is kept when a name is cut, in bytes with its dot. A longer one is rather the end of a sentence.
const MAX_EXTENSION_LEN: usize = 16;

/// Puts a suffix before the extension, if there is a short one. Cuts the stem between two characters until all of it fits.
fn fitted(name: &str, suffix: &str) -> String {
    let is_extension = |end: &str| end.len() <= MAX_EXTENSION_LEN && !end.contains(is_blank);
    let dot = name.rfind('.').filter(|&dot| is_extension(&name[dot..]));
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let most = MAX_FILE_NAME_LEN - extension.len() - suffix.len();
    let mut end = most.min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    // Without suffix and extension, the cut may leave a dot or a blank at the end.
    trim_end(&format!("{}{suffix}{extension}", &stem[..end])).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HARMFUL: [char; 23] = [
        '\0', '\t', '\n', '\r', '\u{1B}', '\u{7F}', '\u{80}', '\u{85}', '\u{9B}', '\u{9F}',
        '\u{61C}', '\u{200B}', '\u{200E}', '\u{200F}', '\u{202A}', '\u{202E}', '\u{2028}',
        '\u{2029}', '\u{2060}', '\u{2066}', '\u{2069}', '\u{3164}', '\u{FEFF}',
    ];

    fn user_error(text: &str) -> String {
        UserName::parse(text).unwrap_err().to_string()
    }

    fn file(text: &str) -> String {
        FileName::from_peer(text).to_string()
    }

    #[test]
    fn ordinary_names_are_legal_and_unchanged() {
        for text in [
            "a",
            "Jörg Müller",
            "山田",
            "O'Neil",
            "a/b!c~d",
            "نمی\u{200C}دانم",
            "👩\u{200D}🔬",
            "Admin 2",
            "administrator",
        ] {
            assert_eq!(UserName::parse(text).unwrap().as_str(), text);
            assert_eq!(GroupName::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_have_1_to_64_characters_whatever_their_bytes() {
        for letter in ["a", "é", "山", "🦀"] {
            for (n_characters, legal) in
                [(0, false), (1, true), (63, true), (64, true), (65, false)]
            {
                let text = letter.repeat(n_characters);
                assert_eq!(UserName::parse(&text).is_ok(), legal, "{text}");
                assert_eq!(GroupName::parse(&text).is_ok(), legal, "{text}");
            }
        }
        assert_eq!(
            user_error(&"x".repeat(70)),
            "a user name has 1 to 64 characters, this one has 70"
        );
        assert_eq!(
            GroupName::parse("").unwrap_err().to_string(),
            "a group name has 1 to 64 characters, this one has 0"
        );
    }

    #[test]
    fn harmful_characters_are_refused_anywhere() {
        for c in HARMFUL {
            assert!(is_harmful(c));
            for text in [format!("{c}a"), format!("a{c}b"), format!("a{c}")] {
                let code = format!("this one has U+{:04X}", u32::from(c));
                assert!(user_error(&text).ends_with(&code));
                assert!(GroupName::parse(&text).is_err());
            }
        }
        assert_eq!(
            user_error("a\u{202E}b"),
            "a user name has no invisible or control characters, this one has U+202E"
        );
        for c in [
            'a', ' ', 'é', '\u{A0}', '\u{200C}', '\u{200D}', '\u{FE0F}', '🦀',
        ] {
            assert!(!is_harmful(c));
        }
    }

    #[test]
    fn blanks_are_refused_at_the_edges_only() {
        for blank in [' ', '\u{A0}', '\u{2003}', '\u{3000}', '\u{200D}'] {
            for text in [format!("{blank}a"), format!("a{blank}"), blank.to_string()] {
                let error = user_error(&text);
                assert_eq!(error, "a user name does not begin or end with a blank");
                assert!(GroupName::parse(&text).is_err());
            }
            assert!(UserName::parse(&format!("a{blank}b")).is_ok());
        }
    }

    #[test]
    fn names_do_not_begin_like_a_command_a_denial_or_an_error() {
        for text in ["/disconnect", "!bob", "~error~"] {
            assert!(UserName::parse(text).is_err());
            assert!(GroupName::parse(text).is_err());
        }
        assert_eq!(
            user_error("!bob"),
            "a user name does not begin with / or ! or ~"
        );
    }

    #[test]
    fn a_colon_is_for_groups_only() {
        assert_eq!(user_error("bob: hi"), "a user name has no colon");
        assert!(GroupName::parse("team: red").is_ok());
    }

    #[test]
    fn reserved_names_are_for_groups_only() {
        for (text, name) in [
            ("PyChat", "PyChat"),
            ("PYCHAT", "PyChat"),
            ("Admin", "Admin"),
            ("admin", "Admin"),
        ] {
            let error = format!("the user name {name} is reserved for the server");
            assert_eq!(user_error(text), error);
            assert!(GroupName::parse(text).is_ok());
        }
    }

    #[test]
    fn reserved_names_are_refused_in_every_disguise() {
        for text in ["py\u{200D}chat", "PYCHAT\u{FE0F}", "adm\u{200C}in"] {
            let error = user_error(text);
            assert!(error.ends_with("is reserved for the server"), "{text:?}");
        }
    }

    #[test]
    fn names_that_differ_in_nothing_that_shows_look_alike() {
        let name = |text: &str| UserName::parse(text).unwrap();
        for (one, other) in [
            ("bob", "BOB"),
            ("bob", "bo\u{200D}b"),
            ("J\u{F6}rg", "Jo\u{308}rg"),
            ("J\u{F6}rg", "J\u{D6}RG"),
            ("\u{2764}", "\u{2764}\u{FE0F}"),
        ] {
            assert!(name(one).looks_like(&name(other)), "{one} {other:?}");
            assert_ne!(name(one), name(other));
        }
        for (one, other) in [("bob", "rob"), ("Jorg", "J\u{F6}rg"), ("a b", "ab")] {
            assert!(!name(one).looks_like(&name(other)), "{one} {other}");
        }
    }

    #[test]
    fn a_user_name_shows_something_and_does_not_mix_letters_of_one_look() {
        // A Cyrillic o, and a Greek one.
        for text in ["b\u{43E}b", "b\u{3BF}b"] {
            assert!(user_error(text).contains("does not mix"), "{text}");
            assert!(GroupName::parse(text).is_ok());
        }
        for text in [
            "\u{411}\u{43E}\u{440}\u{438}\u{441}",
            "\u{3A3}\u{3BF}\u{3C6}\u{3AF}\u{3B1}",
            "Jos\u{E9} \u{5C71}",
        ] {
            assert!(UserName::parse(text).is_ok(), "{text}");
        }
        for blank in ['\u{2800}', '\u{115F}', '\u{AD}', '\u{FE0E}', '\u{E0041}'] {
            let text = format!("a{blank}b");
            assert!(user_error(&text).contains("no invisible"), "{text:?}");
        }
    }

    #[test]
    fn a_safe_file_name_stays_as_it_is() {
        for text in [
            "a",
            "report.pdf",
            "archive.tar.gz",
            "Übung 3 (neu).txt",
            "a.-~b",
            "COM10",
            "CONSOLE.txt",
            "x.CON",
        ] {
            assert_eq!(file(text), text);
        }
    }

    #[test]
    fn a_file_name_never_leaves_its_folder() {
        for (text, name) in [
            ("/etc/passwd", "passwd"),
            ("../../x", "x"),
            ("..\\..\\x", "x"),
            ("a/b\\c", "c"),
            ("C:\\dir\\x.txt", "x.txt"),
            ("C:x.txt", "x.txt"),
            ("c:", "unnamed"),
            ("C:D:x", "D_x"),
            ("\\\\server\\share\\x", "x"),
            ("", "unnamed"),
            (".", "unnamed"),
            ("..", "unnamed"),
            ("...", "unnamed"),
            (". .", "unnamed"),
            ("a/..", "unnamed"),
            ("a/", "unnamed"),
            (" \u{200D} ", "unnamed"),
        ] {
            assert_eq!(file(text), name, "{text}");
        }
    }

    #[test]
    fn a_file_name_has_nothing_that_a_system_or_a_reader_trips_over() {
        for (text, name) in [
            ("a\nb\u{202E}fdp.exe", "a_b_fdp.exe"),
            ("a<b>c\"d|e?f*g", "a_b_c_d_e_f_g"),
            ("x.txt:stream", "x.txt_stream"),
            ("x.txt. . ", "x.txt"),
            ("  x", "x"),
            (".bashrc", "_.bashrc"),
            (" .env", "_.env"),
            ("..x", "_..x"),
            ("~error~", "_~error~"),
            ("-rf", "_-rf"),
        ] {
            assert_eq!(file(text), name, "{text}");
        }
        for c in HARMFUL {
            assert_eq!(file(&format!("a{c}b")), "a_b");
        }
    }

    #[test]
    fn device_names_get_a_guard() {
        for device in [
            "CON", "prn", "Aux", "NUL", "com1", "LPT9", "COM¹", "lpt³", "conin$",
        ] {
            for text in [
                device.to_string(),
                format!("{device}.txt"),
                format!("{device} .tar.gz"),
            ] {
                assert_eq!(file(&text), format!("_{text}"));
            }
        }
    }

    #[test]
    fn a_long_file_name_keeps_its_short_extension() {
        for (n_bytes, kept) in [(250, 250), (251, 251), (252, 251)] {
            let name = file(&format!("{}.txt", "x".repeat(n_bytes)));
            assert_eq!(name, format!("{}.txt", "x".repeat(kept)));
        }
        assert_eq!(file(&"é".repeat(200)), "é".repeat(127));
        assert_eq!(
            file(&format!("{}.{}", "x".repeat(250), "y".repeat(40))).len(),
            255
        );
        assert_eq!(
            file(&format!("a{}{}", ".".repeat(300), "y".repeat(40))),
            "a"
        );
        assert_eq!(
            file(&format!("~{}", "x".repeat(300))),
            format!("_~{}", "x".repeat(253))
        );
    }

    #[test]
    fn a_number_goes_before_the_extension() {
        for (text, name) in [
            ("x", "x (7)"),
            ("x.txt", "x (7).txt"),
            ("archive.tar.gz", "archive.tar (7).gz"),
            ("Mr. Smith", "Mr. Smith (7)"),
        ] {
            assert_eq!(FileName::from_peer(text).numbered(7).as_str(), name);
        }
        let long = FileName::from_peer(&format!("{}.txt", "é".repeat(300)));
        let name = long.numbered(u32::MAX).to_string();
        assert!(name.ends_with("é (4294967295).txt") && name.len() <= 255);
    }

    /// Text made of what matters to file names, so that the rules meet each other.
    fn trouble() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("CON"),
            Just("com¹"),
            Just("C:"),
            Just("."),
            Just(".."),
            Just(" "),
            Just("/"),
            Just("\\"),
            Just("~"),
            Just("-"),
            Just("_"),
            Just("a"),
            Just(".txt"),
            Just("\u{202E}"),
            Just("\u{200D}"),
            Just("\u{3000}"),
            Just("🦀"),
            Just("?"),
            Just("\n"),
        ];
        let run = (piece, prop_oneof![4 => 1..3usize, 1 => 60..260usize]);
        proptest::collection::vec(run, 0..8)
            .prop_map(|runs| runs.iter().map(|(piece, n)| piece.repeat(*n)).collect())
    }

    fn assert_safe(name: &FileName) {
        let text = name.as_str();
        assert!((1..=255).contains(&text.len()));
        assert!(!text.contains(['/', '\\']) && !text.contains(is_unsafe_in_file));
        assert!(!text.starts_with(['.', '~', '-']) && !is_device(text));
        assert_eq!(trim_end(text.trim_start_matches(is_blank)), text);
        assert_eq!(&FileName::from_peer(text), name);
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_safe_file_name(text in prop_oneof![any::<String>(), trouble()], n: u32) {
            let name = FileName::from_peer(&text);
            assert_safe(&name);
            assert_safe(&name.numbered(n));
            prop_assert_ne!(name.numbered(n), name);
        }

        #[test]
        fn a_legal_name_fakes_no_line(text in prop_oneof![any::<String>(), trouble()]) {
            if let Ok(name) = UserName::parse(&text) {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert!(!text.contains([':', '\n']) && !text.chars().any(is_harmful));
                prop_assert!(GroupName::parse(&text).is_ok());
            }
        }
    }
}
