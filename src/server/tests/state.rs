//! Tests of the state file: what it keeps, and what it refuses.

use std::sync::Arc;

use super::*;
use crate::seal::Identity;
use crate::server::testkit::{DEN, Kit};

fn load(path: &Path) -> Result<GroupTable, String> {
    let table = GroupTable::new(3, Arc::default());
    StateFile::load(path, &table).map(|_| table)
}

#[test]
fn groups_come_back_as_they_were() {
    let (kit, key) = (Kit::new(), Identity::generate().public());
    let alice = kit.tries_with_key("alice", key).unwrap();
    for name in ["bob", "carol", "dave"] {
        kit.joins(name).leaves();
    }
    alice.approves("bob").unwrap();
    let dave = UserName::parse("dave").unwrap();
    alice
        .group
        .lock()
        .ban(&alice.client, dave, true)
        .ok()
        .unwrap();
    kit.tries_to_join_group("bob", "another: den").unwrap();
    let lines = in_lines(&kit.shared.table);
    assert_eq!(
        lines,
        format!(
            "fernchat state 1\ngroup\tanother: den\nadmin\tbob\t-\t10.0.0.1\ngroup\t{DEN}\nadmin\talice\t{key}\t10.0.0.1\n\
             member\tbob\t-\t10.0.0.1\nrequest\tcarol\t-\t10.0.0.1\nban\tdave\t-\t10.0.0.1\n"
        )
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::write(&path, &lines).unwrap();
    assert_eq!(in_lines(&load(&path).unwrap()), lines);
    assert_eq!(fs::read_to_string(&path).unwrap(), lines);
}

#[test]
fn what_cannot_be_understood_is_an_error_that_names_the_line_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let good = "fernchat state 1\ngroup\tden\nadmin\talice\t-\t10.0.0.1\n";
    for (lines, error) in [
        (String::new(), "line 1 is not 'fernchat state 1'"),
        ("fernchat state 2\n".into(), "line 1 is not"),
        (
            format!("{good}member\t/bob\t-\t-\n"),
            "line 4: a user name does not begin with",
        ),
        (
            format!("{good}member\tbob\tno-key\t-\n"),
            "line 4: this is no key",
        ),
        (
            format!("{good}member\tbob\t-\t10.0.0\n"),
            "line 4: this is no address",
        ),
        (
            format!("{good}member\tbob\t-\n"),
            "line 4: the address is missing",
        ),
        (
            format!("{good}member\tbob\t-\t-\t-\n"),
            "line 4: there are too many fields",
        ),
        (
            format!("{good}admin\tbob\t-\t-\n"),
            "line 4: 'admin' is not expected here",
        ),
        (
            format!("{good}friend\tbob\t-\t-\n"),
            "line 4: 'friend' is not expected",
        ),
        (
            format!("{good}member\talice\t-\t-\n"),
            "line 4: the name is there twice",
        ),
        (
            format!("{good}group\tden\nadmin\tbob\t-\t-\n"),
            "at the end: the group is there twice",
        ),
        (
            format!("{good}group\tother\n"),
            "at the end: the group has no admin",
        ),
        (
            "fernchat state 1\nmember\tbob\t-\t-\n".into(),
            "line 2: there is no group above",
        ),
        (format!("{good}\n"), "line 4: a name is missing"),
    ] {
        fs::write(&path, &lines).unwrap();
        let refused = load(&path).err().expect(error);
        assert!(refused.contains(error), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), lines);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path()).is_err(), "a folder");
    assert!(load(&folder.path().join("missing/state")).is_err());
    let path = folder.path().join("state");
    load(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "fernchat state 1\n");
}

#[test]
fn a_half_written_file_of_a_killed_server_is_in_nobody_s_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let good = "fernchat state 1\ngroup\tden\nadmin\talice\t-\t10.0.0.1\n";
    for n in 0..good.len() {
        fs::write(&path, good).unwrap();
        fs::write(folder.path().join("state.new"), &good[..n]).unwrap();
        assert_eq!(in_lines(&load(&path).unwrap()), good);
    }
}
