//! The older chat's programs as a test has them: clients and a server in folders of their own, and ours among them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Program, client, folder, python};

/// The Python of a test, and a folder for each of its programs: what a program shares and receives lies in the folder of its name.
pub struct Python {
    pub room: TempDir,
}

impl Python {
    /// `None`: there is none on this machine, and the test is over.
    pub fn find() -> Option<Python> {
        python("pychat_client.py")?;
        Some(Python { room: folder() })
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.room.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Puts a file into somebody's folder, of this many bytes. Returns its path.
    pub fn file(&self, owner: &str, name: &str, size: usize) -> PathBuf {
        let path = self.folder(owner).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content(size)).unwrap();
        path
    }

    /// A file in somebody's folder has the content of this many bytes.
    #[track_caller]
    pub fn has_file(&self, owner: &str, name: &str, size: usize) {
        let found = std::fs::read(self.folder(owner).join(name)).unwrap();
        assert!(
            found == content(size),
            "{name} of {owner}: {} bytes of {size}",
            found.len()
        );
    }

    /// What lies in somebody's folder.
    pub fn files(&self, owner: &str) -> BTreeSet<String> {
        let files = self.folder(owner).read_dir().unwrap();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// A Python client that has sent these names; what it says about joining is not yet heard.
    pub fn client_in(&self, port: u16, name: &str, group: &str, switches: &[&str]) -> Program {
        let mut command = python("pychat_client.py").unwrap();
        command
            .args(["127.0.0.1", &port.to_string(), "--log"])
            .args(switches)
            .current_dir(self.folder(if name.contains('/') { "nobody" } else { name }));
        let mut program = Program::start(command);
        program.pastes(&[name, group]);
        program
    }

    pub fn client(&self, port: u16, name: &str, switches: &[&str]) -> Program {
        self.client_in(port, name, "team", switches)
    }

    /// A Python client that created the group `team`.
    pub fn admin(&self, port: u16, name: &str, switches: &[&str]) -> Program {
        let mut program = self.client(port, name, switches);
        program.hears_next("joined as admin");
        program
    }

    /// A Python client that a Python admin has approved, and that reads what comes.
    pub fn member(&self, port: u16, name: &str, switches: &[&str], admin: &mut Program) -> Program {
        let mut program = self.client(port, name, switches);
        program.hears_next("waiting");
        admin.hears_next(&format!("PyChat: {name} has requested to join the group."));
        admin.types("/2");
        admin.hears_next("name?");
        admin.types(name);
        admin.hears_next(&format!("{name} is now a member of the group."));
        program.hears_next("accepted");
        program.types("");
        program
    }

    /// Our client, which receives files into the folder of its name.
    pub fn our_client(&self, port: u16, name: &str) -> Program {
        let folder = self.folder(name);
        client(port, name, &["--downloads", folder.to_str().unwrap()])
    }

    /// Our client, having created the group `team`.
    pub fn our_admin(&self, port: u16, name: &str) -> Program {
        let mut program = self.our_client(port, name);
        program.hears("The group team is new");
        program
    }

    /// Our client, approved by an admin who runs ours too.
    pub fn our_member(&self, port: u16, name: &str, admin: &mut Program) -> Program {
        let mut program = self.our_client(port, name);
        program.hears("You wait for the admin of team");
        approves(admin, name);
        program.hears("You have been approved");
        program
    }

    /// The Python server, in the folder `server`.
    pub fn server(&self, switches: &[&str]) -> PythonServer {
        let mut command = python("pychat_server.py").unwrap();
        command
            .args(["127.0.0.1", "0", "--log"])
            .args(switches)
            .current_dir(self.folder("server"));
        let mut program = Program::start(command);
        let banner = program.hears("listening on");
        let port = banner.rsplit(':').next().unwrap().parse().unwrap();
        PythonServer { program, port }
    }
}

pub struct PythonServer {
    pub program: Program,
    pub port: u16,
}

/// Bytes that do not repeat, so that what is lost or swapped shows.
pub fn content(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// An admin with our client lets somebody in.
#[track_caller]
pub fn approves(admin: &mut Program, name: &str) {
    admin.hears(&format!("PyChat: {name} has requested to join the group."));
    admin.types(&format!("/2 {name}"));
    admin.hears(&format!("{name} is now a member of the group."));
}
