//! The window as a person has it: a page in a real browser, which is read, clicked and typed into. The browser is chromium, without a window
//! of its own.

#![cfg(all(feature = "window", target_os = "linux"))]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use support::python::{Python, content};
use support::{
    DEADLINE, Peer, Program, Server, Tap, client, ends_well, fernchat, folder, python, skipped,
    status_of,
};
use tempfile::TempDir;

/// `fernchat window`, and where its page is.
struct Window {
    program: Program,
    address: String,
    /// Its configuration and its downloads.
    home: TempDir,
}

impl Window {
    fn start(options: &[&str]) -> Window {
        let home = folder();
        let mut command = fernchat();
        command
            .env("XDG_CONFIG_HOME", home.path())
            .current_dir(home.path())
            .args(["window", "--no-open", "--downloads", "."])
            .args(options);
        let mut program = Program::start(command);
        let line = program.hears("http://127.0.0.1:");
        let address = line[line.find("http://").unwrap()..].to_owned();
        Window {
            program,
            address,
            home,
        }
    }

    /// A window that joins the group `team` at once.
    fn joins(port: u16, name: &str) -> Window {
        let port = port.to_string();
        Window::start(&["127.0.0.1", &port, "--name", name, "--group", "team"])
    }

    fn port(&self) -> u16 {
        let rest = &self.address["http://127.0.0.1:".len()..];
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// The path of the page, with its slashes.
    fn path(&self) -> &str {
        &self.address[self.address.rfind(':').unwrap()..][self.port().to_string().len() + 1..]
    }

    /// Sends the head of a request. Returns all of the answer.
    fn answers(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        // What is too long is not read to its end.
        let _ = socket.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let port = self.port();
        self.answers(&format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n"
        ))
    }
}

/// A client of the group `team` in a real terminal, which is tmux. Closed when dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn with(port: u16, name: &str) -> Terminal {
        let terminal = Terminal {
            socket: format!("fernchat-window-{}-{port}", std::process::id()),
        };
        let (program, home) = (env!("CARGO_BIN_EXE_fernchat"), env!("CARGO_TARGET_TMPDIR"));
        let run = format!(
            "XDG_CONFIG_HOME={home}/{name} '{program}' client 127.0.0.1 {port} --name {name} --group team; exec cat"
        );
        terminal.tmux(&[
            "-u",
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "sh",
            "-c",
            &run,
        ]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(arguments);
        let output = command.env_remove("TMUX").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn types(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.tmux(&["send-keys", "Enter"]);
    }

    #[track_caller]
    fn shows(&self, text: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let screen = self.tmux(&["capture-pane", "-p", "-t", ":0"]);
            if screen.contains(text) {
                return;
            }
            assert!(
                Instant::now() < until,
                "never shows {text:?}, but:\n{screen}"
            );
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// A browser with one page. Ends when dropped.
struct Browser {
    program: Program,
}

impl Browser {
    /// `None`: there is none on this machine, and the test is over.
    fn open(address: &str) -> Option<Browser> {
        if Command::new("chromedriver")
            .arg("--version")
            .output()
            .is_err()
        {
            skipped("there is no chromium with its driver: install chromium-driver");
            return None;
        }
        let mut program = Program::start(python("browser.py")?);
        program.hears("ready");
        let mut browser = Browser { program };
        browser.does("go", &json(address));
        Some(browser)
    }

    /// Does what tests/python/browser.py has for this word. Returns the answer, as JSON.
    #[track_caller]
    fn does(&mut self, word: &str, value: &str) -> String {
        let answer = self.tries(word, value);
        assert!(
            !answer.starts_with("{\"failed\""),
            "{word} {value}: {answer}"
        );
        answer
    }

    fn tries(&mut self, word: &str, value: &str) -> String {
        self.program.types(&format!("{word} {value}"));
        self.program.hears("")
    }

    /// The value of an expression of the page, as JSON.
    #[track_caller]
    fn says(&mut self, expression: &str) -> String {
        self.does("js", &json(&format!("return {expression}")))
    }

    /// Waits until an expression is true.
    #[track_caller]
    fn waits(&mut self, expression: &str) {
        let until = Instant::now() + DEADLINE;
        while self.says(&format!("Boolean({expression})")) != "true" {
            let text = self.says("document.body.innerText");
            assert!(Instant::now() < until, "never {expression}, but: {text}");
        }
    }

    /// Waits until the page shows this text.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        self.waits(&format!("document.body.innerText.includes({})", json(text)));
    }

    /// Waits until there is a line in the conversation of this name, that reads like this.
    #[track_caller]
    fn hears(&mut self, name: &str, text: &str) {
        let line = format!(
            "[...document.querySelectorAll('#log li')].some((line) => line.querySelector('.name')?.textContent === {} && \
             line.querySelector('.text').textContent === {})",
            json(name),
            json(text)
        );
        self.waits(&line);
    }

    #[track_caller]
    fn clicks(&mut self, css: &str) {
        self.waits(&format!(
            "document.querySelector({})?.checkVisibility()",
            json(css)
        ));
        // A list that changes just then has another one in its place.
        let mut answer = self.tries("click", &json(css));
        while answer.contains("stale element") {
            answer = self.tries("click", &json(css));
        }
        assert!(!answer.starts_with("{\"failed\""), "click {css}: {answer}");
    }

    /// Types into a field. `ENTER` is a key, too.
    #[track_caller]
    fn types(&mut self, css: &str, text: &str) {
        self.does("keys", &format!("[{}, {}]", json(css), json(text)));
    }

    #[track_caller]
    fn enters(&mut self, line: &str) {
        self.types("#text", &format!("{line}{ENTER}"));
    }

    /// Presses keys, wherever the focus is.
    #[track_caller]
    fn presses(&mut self, keys: &[&str]) {
        let keys: Vec<String> = keys.iter().map(|key| json(key)).collect();
        self.does("press", &format!("[{}]", keys.join(", ")));
    }

    /// Makes the page this large, in pixels.
    fn has_size(&mut self, width: u32, height: u32) {
        self.does("size", &format!("[{width}, {height}]"));
    }

    /// Keeps a picture of the page, for whoever wants to look.
    fn is_drawn(&mut self, name: &str) {
        let path = format!("{}/window-{name}.png", env!("CARGO_TARGET_TMPDIR"));
        self.does("shot", &json(&path));
    }

    /// Nothing sticks out at the side, which would have to be scrolled to.
    #[track_caller]
    fn fits(&mut self) {
        let excess = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.says(excess), "0");
    }

    /// Fills the form of a group chat, and joins.
    #[track_caller]
    fn joins_chat(&mut self, port: u16, name: &str, group: &str) {
        self.waits("!document.getElementById('start').hidden");
        for (field, value) in [
            ("server", format!("127.0.0.1:{port}").as_str()),
            ("name", name),
            ("group", group),
        ] {
            let css = format!("#chat [name={field}]");
            self.says(&format!(
                "document.querySelector({}).value = ''",
                json(&css)
            ));
            self.types(&css, value);
        }
        self.clicks("#chat button.main");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The script then ends the browser, which a kill of the script would leave behind.
        self.program.ends_input();
        if !std::thread::panicking() {
            self.program.ends();
        } else {
            self.program.rest();
        }
    }
}

/// Keys, as the WebDriver writes them.
const ENTER: &str = "\u{e007}";
const TAB: &str = "\u{e004}";
const ESCAPE: &str = "\u{e00c}";
const UP: &str = "\u{e013}";
const DOWN: &str = "\u{e015}";
const RIGHT: &str = "\u{e014}";

/// A text as JSON, which is also one of JavaScript.
fn json(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A terminal's client or a pipe's asks to join, and the page's person approves with the button.
#[track_caller]
fn approved_by(browser: &mut Browser, member: &mut Program, name: &str) {
    member.hears("You wait for the admin of team");
    browser.shows(&format!("{name} has requested to join the group."));
    browser.clicks(&format!("[aria-label='Approve {name}']"));
    member.hears("You have been approved");
}

/// A window with alice, the admin, and bob, who was let in. `None`: there is no browser.
fn alice_and_bob() -> Option<(Server, Window, Browser, Program)> {
    let server = Server::start();
    let window = Window::joins(server.port, "alice");
    let mut alice = Browser::open(&window.address)?;
    let mut bob = client(server.port, "bob", &[]);
    approved_by(&mut alice, &mut bob, "bob");
    Some((server, window, alice, bob))
}

#[test]
fn an_admin_who_comes_back_has_the_buttons_for_those_who_asked_meanwhile() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut asked = ["Tim", "Zoe"].map(|name| Peer::greet(server.port, name, "team"));
    asked.iter_mut().for_each(|peer| peer.hears("/wait"));
    for name in ["Tim", "Zoe"] {
        alice.hears(&format!("PyChat: {name} has requested to join the group."));
    }
    alice.says("/disconnect");
    alice.hears("/disconnect");
    alice.says(".");
    alice.hears_end();
    let window = Window::joins(server.port, "alice");
    let Some(mut browser) = Browser::open(&window.address) else {
        return;
    };
    browser.shows("You administer the group team. 2 ask to join: Tim, Zoe.");
    browser.clicks("[aria-label='Approve Zoe']");
    asked[1].hears("/accepted");
}

#[test]
fn a_group_is_joined_on_the_form_and_talks_with_a_pipe_and_a_python_client() {
    let (server, window) = (Server::start(), Window::start(&[]));
    let (Some(mut alice), Some(python)) = (Browser::open(&window.address), Python::find()) else {
        return;
    };
    if Command::new("tmux").arg("-V").output().is_err() {
        return skipped("there is no tmux");
    }
    alice.has_size(1000, 700);
    alice.is_drawn("form-chat");
    // What is wrong stands beside its field.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for (port, name, group, field, error) in [
        (nobody, "alice", "team", "server", "nobody listens there"),
        (
            server.port,
            "a:b",
            "team",
            "name",
            "a user name has no colon",
        ),
        (server.port, "", "team", "name", "Enter your name."),
        (
            server.port,
            "alice",
            "",
            "group",
            "Enter the name of the group.",
        ),
    ] {
        alice.joins_chat(port, name, group);
        let said = format!(
            "document.querySelector('[name={field}] + .error')?.textContent.includes({})",
            json(error)
        );
        alice.waits(&said);
        alice.waits(&format!("document.activeElement.name === '{field}'"));
        assert_eq!(
            alice.says("document.querySelectorAll('.error').length"),
            "1"
        );
    }
    alice.is_drawn("form-error");
    alice.joins_chat(server.port, "alice", "team");
    alice.shows("The group team is new");
    alice.waits("document.getElementById('state').textContent === 'Connected'");

    let mut bob = client(server.port, "bob", &[]);
    approved_by(&mut alice, &mut bob, "bob");
    let mut carl = python.client(server.port, "carl", &[]);
    carl.hears_next("waiting");
    alice.clicks("[aria-label='Approve carl']");
    carl.hears_next("accepted");
    carl.types("");
    // They are here, the admin is marked, and nobody asks any more.
    alice.waits("[...document.querySelectorAll('#people li')].map((item) => item.textContent).join() === 'alice (admin) (you),bob,carl'");
    alice.waits("document.getElementById('asking').hidden");

    bob.types("good morning");
    alice.hears("bob", "good morning");
    carl.types("from a script");
    alice.hears("carl", "from a script");
    bob.hears("carl: from a script");
    alice.enters("hello both");
    bob.hears_next("alice: hello both");
    carl.hears("alice: hello both");
    alice.hears("alice", "hello both");
    assert_eq!(
        alice.says("document.querySelectorAll('#log .own').length"),
        "1"
    );
    // A terminal's client sees the same, and is seen.
    let terminal = Terminal::with(server.port, "dora");
    alice.clicks("[aria-label='Approve dora']");
    terminal.shows("You have been approved");
    alice.enters("welcome dora");
    terminal.shows("alice: welcome dora");
    terminal.types("thank you");
    alice.hears("dora", "thank you");
    bob.hears("dora: thank you");
    terminal.types("/quit");
    // What was sent comes back with the arrow keys.
    alice.types("#text", UP);
    alice.waits("document.getElementById('text').value === 'welcome dora'");
    alice.types("#text", "!");
    alice.enters("");
    bob.hears_next("alice: welcome dora!");
    // Several lines at once are said, and never obeyed.
    alice.says("document.getElementById('text').value = 'one\\n/leave\\n/kick bob'");
    alice.clicks("#write button.main");
    bob.hears("alice: one");
    bob.hears_next("alice: /leave");
    bob.hears_next("alice: /kick bob");
    // A private line, both ways. Carl hears neither.
    bob.types("/msg alice psst");
    alice.hears("bob", "psst");
    alice.waits("document.querySelector('#log .private .mark')?.textContent === 'to you'");
    alice.clicks("#people li:nth-child(2) button");
    alice.clicks("#menu button:first-child");
    alice.waits("document.getElementById('text').value === '/msg bob '");
    alice.enters("what is it?");
    bob.hears("alice (to you): what is it?");
    alice.waits("document.querySelector('#log .own.private .mark')?.textContent === 'to bob'");
    alice.enters("to everybody");
    carl.hears("alice: to everybody");
    assert!(
        !carl
            .heard()
            .iter()
            .any(|line| line.contains("psst") || line.contains("what is it"))
    );
    bob.hears_next("alice: to everybody");
    // Commands are typed as in a terminal.
    alice.enters("/members");
    alice.shows("members (4): alice (admin), bob, carl, dora");

    // Another page of the same address shows the same.
    alice.does("tab", &json(&window.address));
    alice.hears("alice", "hello both");
    alice.enters("from the second page");
    bob.hears_next("alice: from the second page");
    alice.does("to", "0");
    alice.hears("alice", "from the second page");

    // The menu of a member puts carl out. Bob asks who is here, so the answer is known to be the last word.
    alice.clicks("#people li:nth-child(3) button");
    alice.clicks("#menu button:last-child");
    alice.clicks("#sure button[value=no]");
    bob.types("/online");
    bob.hears_next("online: alice, bob, carl");
    alice.clicks("#people li:nth-child(3) button");
    alice.clicks("#menu button:last-child");
    alice.clicks("#sure button[value=yes]");
    alice.waits("document.querySelectorAll('#people li').length === 2");

    // After leaving, what was entered is there again, also for the next start. It has no key in it.
    alice.clicks("#leave");
    alice.waits("!document.getElementById('start').hidden");
    alice.waits("document.querySelector('#chat [name=group]').value === 'team'");
    let kept = std::fs::read_to_string(window.home.path().join("fernchat/window")).unwrap();
    assert!(kept.contains("chat.name=alice\n"), "{kept}");
    alice.joins_chat(server.port, "alice", "team");
    alice.shows("You are in the group team.");
}

#[cfg(feature = "discovery")]
#[test]
fn the_form_offers_the_servers_of_the_network_and_fills_in_their_addresses() {
    let window = Window::start(&[]);
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    // Nobody waits for the search: the form can be filled in before.
    alice.waits("!document.getElementById('start').hidden");
    alice.types("#chat [name=name]", "alice");
    alice.types("#chat [name=group]", "team");
    alice.waits("!document.getElementById('found').hidden");
    let mut server = fernchat();
    server.args(["server", "0.0.0.0", "0"]);
    let mut server = Program::start(server);
    let line = server.hears("listening on 0.0.0.0:");
    let port = line.split(['.', ':', ',']).nth(4).unwrap().to_owned();
    let mut relay = fernchat();
    relay.args(["relay", "0.0.0.0", "0"]);
    let mut relay = Program::start(relay);
    let line = relay.hears("listening on 0.0.0.0:");
    let relay_port = line.split(['.', ':', ',']).nth(4).unwrap().to_owned();
    let found = fernchat().arg("find").output().unwrap();
    if !String::from_utf8_lossy(&found.stdout).contains(&port) {
        return skipped("this network has no multicast");
    }
    alice.clicks("#find");
    let find = |kind: &str, port: &str| {
        format!(
            "[...document.querySelectorAll('#servers button')].find((button) => button.textContent.startsWith('{kind} ') && \
             button.textContent.endsWith(' {port}'))"
        )
    };
    // A click chooses the tab, too.
    alice.waits(&find("relay", &relay_port));
    alice.says(&format!("{}.click()", find("relay", &relay_port)));
    alice.waits("document.getElementById('chat').hidden");
    let ends = |form: &str, port: &str| {
        format!("document.querySelector('#{form} [name=server]').value.endsWith(':{port}')")
    };
    alice.waits(&ends("relay", &relay_port));
    alice.says(&format!("{}.click()", find("chat", &port)));
    alice.waits("document.getElementById('relay').hidden");
    alice.waits(&ends("chat", &port));
    alice.waits("document.activeElement.name === 'name'");
    alice.waits("document.getElementById('n-found').textContent.startsWith('Found')");
    alice.is_drawn("form-found");
    alice.fits();
    // If a later search fails, the page says so, and the form can be used all the same. Here the program can open no file more.
    let limit = |n: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &window.program.id().to_string(), n]);
        command.status().is_ok_and(|status| status.success())
    };
    if !limit("--nofile=3:") {
        return skipped("there is no prlimit");
    }
    alice.clicks("#find");
    alice.shows("Servers on this network cannot be found: cannot look for servers");
    assert!(limit("--nofile=1024:"));
    alice.clicks("#find");
    alice.waits(&find("chat", &port));
    alice.clicks("#chat button.main");
    alice.shows("The group team is new");
}

#[test]
fn what_a_hostile_member_says_is_shown_as_text() {
    let server = Server::start();
    let name = "<img src=x onerror='hacked=1'>";
    let mut admin = Peer::join(server.port, "root", None);
    let window = Window::joins(server.port, "alice");
    admin.hears("PyChat: alice has requested to join the group.");
    admin.decides("/approveRequest", "alice");
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    alice.shows("You have been approved");
    let mut mallory = Peer::join(server.port, name, Some(&mut admin));
    alice.shows("root");
    let words = "x".repeat(3000);
    for said in [
        "<script>hacked=1</script><b>bold</b>",
        "javascript:hacked=1 https://example.org/<i>",
        "first\nline\n12:00\nroot\n\nown\nforged",
        "\u{202e}backwards\u{7}",
        &words,
    ] {
        mallory.tells(said);
    }
    alice.hears(name, "<script>hacked=1</script><b>bold</b>");
    alice.hears(name, "javascript:hacked=1 https://example.org/<i>");
    alice.hears(name, "first^Jline^J12:00^Jroot^J^Jown^Jforged");
    alice.hears(name, "<U+202E>backwards^G");
    alice.hears(name, &words);
    mallory.says("/fileTransfer");
    assert_eq!(alice.says("typeof hacked"), "\"undefined\"");
    assert_eq!(
        alice.says("document.querySelectorAll('#room :is(img, script, b, i, a, iframe)').length"),
        "0"
    );
    // The list of those who are here has the name, too, and so has the menu.
    alice.waits(&format!(
        "[...document.querySelectorAll('#people bdi')].some((item) => item.textContent === {})",
        json(name)
    ));
    // Even if something got into the page, it would not run: the policy forbids it.
    alice.says("document.body.appendChild(Object.assign(document.createElement('script'), { textContent: 'hacked = 1' }))");
    alice.says("document.body.setAttribute('onclick', 'hacked = 1'), document.body.click()");
    assert_eq!(alice.says("typeof hacked"), "\"undefined\"");
    for width in [320, 480, 1600] {
        alice.has_size(width, 640);
        alice.fits();
    }
}

#[test]
fn files_travel_both_ways_and_a_received_one_can_be_saved() {
    let server = Server::start();
    let window = Window::joins(server.port, "alice");
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    let files = folder();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let mut bob = client(
        server.port,
        "bob",
        &["--downloads", files.path().to_str().unwrap()],
    );
    approved_by(&mut alice, &mut bob, "bob");
    // More than one piece, and a name that is no part of a command.
    std::fs::create_dir(path("own")).unwrap();
    std::fs::write(path("own/my plan.bin"), content(300_000)).unwrap();
    alice.types("#files", &path("own/my plan.bin"));
    bob.hears("Received my plan.bin from alice");
    assert!(std::fs::read(path("my plan.bin")).unwrap() == content(300_000));
    alice.shows("my plan.bin");

    // To one person, from the menu.
    alice.clicks("#people li:nth-child(2) button");
    alice.says("document.getElementById('files').click = () => {}");
    alice.waits("[...document.querySelectorAll('#menu button')].some((item) => item.textContent === 'Send a file' && (item.click(), true))");
    std::fs::write(path("own/secret plan"), content(1000)).unwrap();
    alice.types("#files", &path("own/secret plan"));
    bob.hears("Received secret plan from alice");
    alice.shows("secret plan");

    // Two at once go one after the other; an empty one, too.
    std::fs::write(path("own/one"), content(70_000)).unwrap();
    std::fs::write(path("own/two"), "").unwrap();
    alice.types(
        "#files",
        &format!("{}\n{}", path("own/one"), path("own/two")),
    );
    bob.hears("Received one from alice");
    bob.hears("Received two from alice");
    assert!(std::fs::read(path("one")).unwrap() == content(70_000));

    // Dropped on the page.
    alice.says(
        "(() => { const files = new DataTransfer(); files.items.add(new File(['dropped'], 'note.txt')); \
         for (const kind of ['dragenter', 'drop']) document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true })); })()",
    );
    bob.hears("Received note.txt from alice");
    assert_eq!(
        std::fs::read_to_string(path("note.txt")).unwrap(),
        "dropped"
    );

    // A long one shows how far it is, and can be stopped.
    let long = std::fs::File::create(path("own/long")).unwrap();
    long.set_len(900 << 20).unwrap();
    alice.enters(&format!("/file {}", path("own/long")));
    alice.waits("document.querySelector('#transfers progress')?.value > 0");
    // If there is one in each direction, the page asks which.
    let other = std::fs::File::create(path("own/other")).unwrap();
    other.set_len(900 << 20).unwrap();
    bob.types(&format!("/file {}", path("own/other")));
    alice.clicks("[aria-label='Accept other']");
    alice.waits("document.querySelectorAll('#transfers progress').length === 2");
    alice.clicks("[aria-label='Stop long']");
    alice.shows("/stop up ends what you share, /stop down what you receive.");
    alice.enters("/stop down");
    alice.shows("other from bob was not received");
    alice.clicks("[aria-label='Stop long']");
    alice.shows("long was not shared: it was stopped");
    alice.waits("document.getElementById('moving').hidden");

    // The other way. The picture is not opened by itself.
    std::fs::write(path("cat.svg"), "<svg onload='hacked=1'/>").unwrap();
    bob.types(&format!("/file {}", path("cat.svg")));
    alice.shows("Received cat.svg from bob");
    assert_eq!(
        std::fs::read_to_string(window.home.path().join("cat.svg")).unwrap(),
        "<svg onload='hacked=1'/>"
    );
    assert_eq!(
        alice.says("document.querySelectorAll('#log img').length"),
        "0"
    );
    alice.clicks("#log a");
    let saved = alice.does("saved", "null");
    let saved = std::path::Path::new(saved.trim_matches('"')).join("cat.svg");
    let until = Instant::now() + DEADLINE;
    while std::fs::read_to_string(&saved).ok().as_deref() != Some("<svg onload='hacked=1'/>") {
        assert!(Instant::now() < until, "never saved");
    }

    // What came from the page is gone when the program has ended.
    let temporary = |name: &str| {
        let folders = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        folders
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().contains("fernchat-"))
            .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
            .any(|file| file.file_name() == name)
    };
    assert!(temporary("my plan.bin"));
    let mut program = window.program;
    program.signal("TERM");
    ends_well(&mut program);
    assert!(!temporary("my plan.bin"));
}

#[test]
fn a_broken_connection_is_shown_and_what_is_typed_stays_and_is_said_later() {
    let server = Server::start();
    let tap = Tap::before(server.port);
    let window = Window::joins(tap.port, "alice");
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    let mut bob = client(server.port, "bob", &[]);
    approved_by(&mut alice, &mut bob, "bob");
    alice.types("#text", "half a li");
    tap.shuts(true);
    tap.cuts();
    alice.waits("document.getElementById('state').textContent.startsWith('Connection lost')");
    alice.waits("document.getElementById('state').className === 'lost'");
    alice.is_drawn("lost");
    assert_eq!(
        alice.says("document.getElementById('text').value"),
        "\"half a li\""
    );
    alice.enters("ne");
    alice.shows("There is no connection");
    tap.shuts(false);
    bob.hears("alice: half a line");
    alice.waits("document.getElementById('state').textContent === 'Connected'");
    alice.hears("alice", "half a line");
    // The program itself ends: the page says so, and keeps what is typed.
    alice.types("#text", "for later");
    let mut program = window.program;
    program.signal("TERM");
    ends_well(&mut program);
    alice.shows("fernchat on this machine has ended");
    alice.types("#text", ENTER);
    assert_eq!(
        alice.says("document.getElementById('text').value"),
        "\"for later\""
    );
}

#[test]
fn friends_at_a_relay_talk_on_a_page_with_a_key_that_it_made() {
    let mut command = fernchat();
    command.args(["relay", "127.0.0.1", "0"]);
    let relay = Server::of(command);
    let window = Window::start(&[]);
    let Some(mut anna) = Browser::open(&window.address) else {
        return;
    };
    anna.has_size(1000, 700);
    anna.clicks("#tab-relay");
    anna.is_drawn("form-relay");
    anna.types("#relay [name=server]", &format!("127.0.0.1:{}", relay.port));
    anna.types("#relay [name=name]", "anna");
    let key = window.home.path().join("friends.key");
    anna.types("#relay [name=key]", key.to_str().unwrap());
    anna.clicks("#relay button.main");
    anna.waits("document.querySelector('#relay [name=key] + .error')");
    anna.clicks("#make");
    anna.shows("Hand it over by other means than the network");
    // A key is not made twice, and the note of the first one goes.
    anna.clicks("#make");
    anna.waits("document.querySelector('#relay [name=key] + .error')");
    anna.waits("document.getElementById('made').textContent === ''");
    anna.clicks("#relay button.main");
    anna.waits("document.getElementById('state').textContent === 'Connected'");
    anna.waits("document.getElementById('title').textContent === 'Private room at 127.0.0.1'");
    let mut command = fernchat();
    let port = relay.port.to_string();
    command.args([
        "relay-client",
        "127.0.0.1",
        &port,
        "--name",
        "bert",
        "--key-file",
        key.to_str().unwrap(),
    ]);
    let mut bert = Program::start(command);
    bert.hears("bert joined");
    bert.types("hello anna");
    anna.hears("bert", "hello anna");
    anna.enters("hello bert");
    bert.hears("anna: hello bert");
    anna.hears("anna", "hello bert");
    // The key itself is nowhere but in its file.
    let kept = std::fs::read_to_string(window.home.path().join("fernchat/window")).unwrap();
    let secret = std::fs::read_to_string(&key).unwrap();
    assert!(
        kept.contains("friends.key") && !kept.contains(secret.trim()),
        "{kept}"
    );
    assert_eq!(
        anna.says(&format!(
            "document.documentElement.outerHTML.includes({})",
            json(secret.trim())
        )),
        "false"
    );
}

/// Whether the form is there, and can be filled in.
#[track_caller]
fn form_is_back(browser: &mut Browser) {
    browser.waits(
        "!document.getElementById('start').hidden && document.getElementById('joining').hidden",
    );
    browser.waits("!document.querySelector('#start form:not([hidden]) button.main').disabled");
}

#[test]
fn a_file_on_offer_is_accepted_or_declined_with_a_button() {
    let server = Server::start();
    let port = server.port.to_string();
    let options = ["127.0.0.1", &port, "--name", "alice", "--group", "team"];
    let window = Window::start(&[&options[..], &["--accept", "none"]].concat());
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    let mut bob = client(server.port, "bob", &[]);
    approved_by(&mut alice, &mut bob, "bob");
    let files = folder();
    for name in ["my plan.txt", "old.txt"] {
        let path = files.path().join(name);
        std::fs::write(&path, content(1000)).unwrap();
        bob.types(&format!("/file {}", path.display()));
        alice.shows(&format!("A file is on offer from bob, {name}: it has "));
    }
    // How to answer in a terminal is not said here.
    assert_eq!(
        alice.says("document.body.innerText.includes('/accept')"),
        "false"
    );
    alice.is_drawn("offer");
    // Another page has the buttons, too.
    alice.does("tab", &json(&window.address));
    alice.waits("document.querySelectorAll('#log .row button').length === 4");
    alice.clicks("[aria-label='Decline old.txt']");
    bob.hears("alice declined old.txt");
    alice.clicks("[aria-label='Accept my plan.txt']");
    alice.shows("Received my plan.txt from bob");
    assert!(std::fs::read(window.home.path().join("my plan.txt")).unwrap() == content(1000));
    assert!(!window.home.path().join("old.txt").exists());
    // What was answered has no buttons any more. The received file has its own.
    alice.waits("document.querySelectorAll('#log [aria-label^=Accept], #log [aria-label^=Decline]').length === 0");
    alice.waits("document.activeElement.id === 'text'");
}

#[test]
fn leaving_leads_back_to_the_form_whatever_the_connection_does() {
    let (server, first) = (Server::start(), Server::start());
    let tap = Tap::before(first.port);
    let window = Window::joins(tap.port, "alice");
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    // The connection is lost.
    alice.shows("The group team is new");
    tap.shuts(true);
    tap.cuts();
    alice.waits("document.getElementById('state').className === 'lost'");
    alice.enters("never said");
    alice.clicks("#leave");
    form_is_back(&mut alice);
    // The server does not answer. Leaving is there while the client connects, also after the page is loaded again.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    alice.joins_chat(silent.local_addr().unwrap().port(), "alice", "team");
    alice.waits("document.getElementById('cancel').checkVisibility()");
    alice.is_drawn("form-connecting");
    alice.says("location.reload()");
    alice.clicks("#cancel");
    form_is_back(&mut alice);
    // The admin has not answered yet.
    let mut root = Peer::join(server.port, "root", None);
    alice.joins_chat(server.port, "carl", "team");
    alice.waits("document.getElementById('state').className === 'waiting'");
    root.hears("PyChat: carl has requested to join the group.");
    alice.clicks("#leave");
    form_is_back(&mut alice);
    // Nobody is left behind, and nothing was said.
    alice.joins_chat(server.port, "dora", "team");
    root.hears("PyChat: dora has requested to join the group.");
    root.decides("/approveRequest", "dora");
    alice.shows("You have been approved");
    alice.enters("here I am");
    root.hears("dora: here I am");
    assert_eq!(
        root.asks_for_set("/onlineMembers"),
        ["dora", "root"].map(String::from).into()
    );
    alice.clicks("#leave");
    form_is_back(&mut alice);
    // The same in a private room, while a line waits for the connection.
    let mut command = fernchat();
    command.args(["relay", "127.0.0.1", "0"]);
    let relay = Server::of(command);
    alice.clicks("#tab-relay");
    alice.types("#relay [name=server]", &format!("127.0.0.1:{}", relay.port));
    alice.types("#relay [name=name]", "alice");
    let key = window.home.path().join("friends.key");
    alice.types("#relay [name=key]", key.to_str().unwrap());
    alice.clicks("#make");
    alice.shows("Hand it over");
    alice.clicks("#relay button.main");
    alice.waits("document.getElementById('state').textContent === 'Connected'");
    drop(relay);
    alice.waits("document.getElementById('state').className === 'lost'");
    alice.enters("never said");
    alice.shows("There is no connection");
    alice.clicks("#leave");
    form_is_back(&mut alice);
    // A signal while the connection is lost ends the program.
    alice.clicks("#tab-chat");
    tap.shuts(false);
    alice.joins_chat(tap.port, "alice", "team");
    alice.waits("document.getElementById('state').textContent === 'Connected'");
    tap.shuts(true);
    tap.cuts();
    alice.waits("document.getElementById('state').className === 'lost'");
    let mut program = window.program;
    program.signal("TERM");
    ends_well(&mut program);
}

#[test]
fn key_files_are_chosen_in_the_browser_and_their_content_stays_nowhere() {
    let files = folder();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let made = fernchat().args(["keygen", &path("team.key")]).output();
    assert!(made.unwrap().status.success());
    let key = std::fs::read_to_string(path("team.key")).unwrap();
    // An editor of Windows wrote this one.
    let utf_16: Vec<u8> = format!("\u{feff}{}\r\n", key.trim())
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    std::fs::write(path("windows.key"), utf_16).unwrap();
    std::fs::write(path("secret"), "correct horse battery staple\n").unwrap();
    for (name, content) in [
        ("empty", ""),
        ("two", "one\ntwo\n"),
        ("long", &"x".repeat(1025)),
    ] {
        std::fs::write(path(name), content).unwrap();
    }
    let server = Server::start_with(&["--secret-file", &path("secret")]);
    let window = Window::start(&[]);
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    alice.waits("!document.getElementById('start').hidden");
    alice.clicks("summary");
    let (secret, room_key) = ("#chat [data-field=secret]", "#chat [data-field=roomkey]");
    let error = |field: &str, text: &str| {
        format!(
            "document.querySelector('#chat [data-field={field}] + .error')?.textContent.includes({})",
            json(text)
        )
    };
    // What is wrong stands beside the field. No wrong file counts as none.
    for (name, text) in [
        ("empty", "the file you chose holds no secret"),
        ("two", "the file you chose holds no secret"),
        ("long", "longer than 1024 bytes"),
    ] {
        alice.types(secret, &path(name));
        alice.joins_chat(server.port, "alice", "team");
        alice.waits(&error("secret", text));
    }
    alice.types(secret, &path("secret"));
    for (name, text) in [
        ("empty", "it is empty"),
        ("two", "it has more than one line"),
    ] {
        alice.types(room_key, &path(name));
        alice.joins_chat(server.port, "alice", "team");
        alice.waits(&error("roomkey", text));
    }
    alice.types(room_key, &path("windows.key"));
    // With another file the error is gone.
    alice.waits("!document.querySelector('#chat .error')");
    for (width, name) in [(320, "phone-keys"), (1200, "form-keys")] {
        alice.has_size(width, 900);
        alice.fits();
        alice.is_drawn(name);
    }
    alice.joins_chat(server.port, "alice", "team");
    alice.shows("The group team is new");
    // Both are in use: bob, who has the same files, reads a line that is sealed.
    let options = [
        "--secret-file",
        &path("secret"),
        "--room-key-file",
        &path("team.key"),
    ];
    let mut bob = client(server.port, "bob", &options);
    approved_by(&mut alice, &mut bob, "bob");
    alice.enters("sealed");
    let heard = bob.hears("alice: sealed");
    assert!(!heard.contains("not sealed"), "{heard}");
    // They are not in the form any more, and nowhere else.
    alice.clicks("#leave");
    form_is_back(&mut alice);
    assert_eq!(
        alice.says("[...document.querySelectorAll('[type=file]')].map((input) => input.files.length).join()"),
        "\"0,0,0,0\""
    );
    let page = alice.says("[...document.querySelectorAll('#start input')].map((input) => input.value).join() + document.documentElement.outerHTML");
    let kept = std::fs::read_to_string(window.home.path().join("fernchat/window")).unwrap();
    for (what, text) in [("page", page), ("file", kept)] {
        assert!(
            !text.contains(key.trim()) && !text.contains("battery"),
            "{what}: {text}"
        );
        assert!(!text.contains(".content="), "{what}: {text}");
    }
    // A key file can be dropped on its field, too: a browser does that by itself. So is the key of friends chosen.
    let mut command = fernchat();
    command.args(["relay", "127.0.0.1", "0"]);
    let relay = Server::of(command);
    alice.clicks("#tab-relay");
    alice.types("#relay [name=server]", &format!("127.0.0.1:{}", relay.port));
    alice.types("#relay [name=name]", "alice");
    alice.types("#relay [data-field=key]", &path("team.key"));
    alice.clicks("#relay button.main");
    alice.waits("document.getElementById('state').textContent === 'Connected'");
}

#[test]
fn a_page_is_used_with_the_keyboard_alone() {
    let server = Server::start();
    let window = Window::start(&[]);
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    let focus = |browser: &mut Browser, what: &str| {
        browser.waits(&format!("document.activeElement.matches({})", json(what)))
    };
    alice.waits("!document.getElementById('start').hidden");
    alice.presses(&[TAB]);
    focus(&mut alice, "#tab-chat");
    alice.presses(&[RIGHT]);
    focus(&mut alice, "#tab-relay");
    alice.waits(
        "document.getElementById('chat').hidden && !document.getElementById('relay').hidden",
    );
    alice.presses(&[RIGHT, TAB]);
    focus(&mut alice, "#chat [name=server]");
    let address = format!("127.0.0.1:{}", server.port);
    for text in [address.as_str(), "alice", "team"] {
        let keys: Vec<String> = text.chars().map(String::from).collect();
        alice.presses(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        alice.presses(&[TAB]);
    }
    alice.presses(&[TAB, ENTER]);
    alice.shows("The group team is new");
    focus(&mut alice, "#text");
    let mut bob = client(server.port, "bob", &[]);
    bob.hears("You wait");
    alice.waits("document.querySelector('[aria-label=\"Approve bob\"]')");
    // From the text field: File, text, Send, then the side.
    alice.presses(&[TAB, TAB]);
    focus(&mut alice, "[aria-label='Approve bob']");
    // The focus can be seen.
    alice.waits("getComputedStyle(document.activeElement).outlineStyle !== 'none'");
    alice.presses(&[RIGHT]);
    focus(&mut alice, "[aria-label='Deny bob']");
    alice.presses(&[RIGHT, ENTER]);
    bob.hears("You have been approved");
    let mut carl = client(server.port, "carl", &[]);
    carl.hears("You wait");
    alice.waits("document.querySelectorAll('#people button:not(:disabled)').length === 1");
    alice.says("document.querySelector('#people button:not(:disabled)').focus()");
    alice.presses(&[ENTER]);
    focus(&mut alice, "#menu button");
    alice.presses(&[DOWN, ESCAPE]);
    focus(&mut alice, "#people button");
    alice.waits("!document.getElementById('menu').matches(':popover-open')");
    // A screen reader is told of new lines, of the state and of errors.
    for (css, role) in [("#log", "log"), ("#state", "status"), ("#gone", "alert")] {
        alice.waits(&format!(
            "document.querySelector('{css}').getAttribute('role') === '{role}'"
        ));
    }
    // Everything that can be pressed or filled has a name.
    alice.waits(
        "[...document.querySelectorAll('button, input:not([hidden]), textarea')].every((part) => \
         part.textContent.trim() || part.getAttribute('aria-label') || part.closest('label')?.textContent.trim() || part.id === 'files')",
    );
}

#[test]
fn unread_lines_are_counted_and_a_mention_notifies() {
    let Some((_server, _window, mut alice, mut bob)) = alice_and_bob() else {
        return;
    };
    // The browser has no window that could be hidden, so the page is told that it is.
    let hide = |is_hidden: bool| {
        format!(
            "(Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }}), document.dispatchEvent(new Event('visibilitychange')))"
        )
    };
    alice.says("(window.notified = [], window.Notification = class { static permission = 'granted'; constructor(title, options) { notified.push(`${title}: ${options.body}`); } })");
    alice.says(&hide(true));
    bob.types("one");
    bob.types("two for Alice");
    alice.waits("document.title === '(2) team – fernchat'");
    alice.waits("notified.join() === 'bob: two for Alice'");
    // Where the unread lines begin can be seen.
    alice.waits("document.querySelector('#log .unread .text')?.textContent === 'one'");
    alice.waits("document.querySelectorAll('#log .loud').length === 1");
    alice.says(&hide(false));
    alice.waits("document.title === 'team – fernchat'");
}

#[test]
fn marks_of_what_is_not_sealed_are_words() {
    let server = Server::start();
    let files = folder();
    let key = files.path().join("room.key");
    let key = key.to_str().unwrap();
    assert!(fernchat().args(["keygen", key]).status().unwrap().success());
    let port = server.port.to_string();
    let window = Window::start(&[
        "127.0.0.1",
        &port,
        "--name",
        "alice",
        "--group",
        "team",
        "--room-key-file",
        key,
    ]);
    let Some(mut alice) = Browser::open(&window.address) else {
        return;
    };
    let mut bob = client(server.port, "bob", &["--room-key-file", key]);
    approved_by(&mut alice, &mut bob, "bob");
    let mut carl = client(server.port, "carl", &[]);
    approved_by(&mut alice, &mut carl, "carl");
    bob.types("sealed");
    alice.hears("bob", "sealed");
    carl.types("not sealed");
    alice.hears("carl", "not sealed");
    let marks = "[...document.querySelectorAll('#log li')].filter((line) => line.querySelector('.name')).map((line) => \
                 [line.querySelector('.name').textContent, line.querySelector('.mark')?.textContent ?? ''].join(':')).join()";
    assert_eq!(alice.says(marks), "\"bob:,carl:not sealed\"");
    // What is not proven is marked where a terminal marks it, and the program's own words are not.
    let path = files.path().join("plain.txt");
    std::fs::write(&path, "plain").unwrap();
    carl.types(&format!("/file {}", path.display()));
    alice.shows("Received plain.txt");
    carl.hears("plain.txt");
    carl.types("/quit");
    alice.shows("carl left");
    let marked = |text: &str| {
        format!(
            "[...document.querySelectorAll('#log .notice')].find((line) => line.textContent.includes({})).querySelector('.mark')?.textContent ?? ''",
            json(text)
        )
    };
    for (text, mark) in [
        ("carl left", "not proven"),
        ("carl has requested to join", "not proven"),
        ("Received plain.txt", "not sealed"),
        ("What you say is sealed with room.key.", ""),
        ("The group team is new", ""),
    ] {
        assert_eq!(alice.says(&marked(text)), json(mark), "{text}");
    }
}

#[test]
fn pages_look_right_on_a_phone_and_in_the_dark() {
    let Some((server, _window, mut alice, mut bob)) = alice_and_bob() else {
        return;
    };
    let received = folder();
    let downloads = ["--downloads", received.path().to_str().unwrap()];
    let mut maryam = client(server.port, "مريم", &downloads);
    approved_by(&mut alice, &mut maryam, "مريم");
    bob.types("Good morning! Has anybody tried the new build?");
    alice.hears("bob", "Good morning! Has anybody tried the new build?");
    alice.enters("Yes, it runs on the old laptop too.");
    maryam.hears("alice: Yes");
    maryam.types("مرحبا بالجميع، كيف حالكم؟");
    alice.hears("مريم", "مرحبا بالجميع، كيف حالكم؟");
    bob.types("alice: could you look at the plan before noon? I have put it on the server.");
    alice.waits("document.querySelector('#log .loud')");
    let plan = folder();
    std::fs::write(plan.path().join("plan.txt"), content(120_000)).unwrap();
    bob.types(&format!("/file {}", plan.path().join("plan.txt").display()));
    alice.shows("Received plan.txt from bob");
    let mut carol = client(server.port, "carol", &[]);
    carol.hears("You wait");
    alice.waits("document.querySelector('[aria-label=\"Approve carol\"]')");
    alice.has_size(1000, 640);
    // Lines of others do not put off who is here.
    alice.waits("document.querySelectorAll('#people li').length === 3");
    alice.is_drawn("conversation");
    alice.does("scheme", &json("dark"));
    alice.is_drawn("dark");
    alice.has_size(320, 640);
    alice.fits();
    alice.is_drawn("phone-dark");
    alice.does("scheme", &json("light"));
    alice.is_drawn("phone");
    alice.waits("getComputedStyle(document.getElementById('side')).display === 'none'");
    alice.clicks("#toggle");
    alice.waits("getComputedStyle(document.getElementById('side')).display === 'block'");
    alice.fits();
    alice.is_drawn("phone-people");
    alice.presses(&[ESCAPE]);
    alice.waits("getComputedStyle(document.getElementById('side')).display === 'none'");
    // Text and ground differ enough to be read, in both schemes.
    for scheme in ["light", "dark"] {
        alice.does("scheme", &json(scheme));
        let contrast = "(() => { const style = getComputedStyle(document.documentElement); \
             const level = (hex) => { const n = parseInt(hex, 16) / 255; return n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4; }; \
             const light = (name) => { const hex = style.getPropertyValue(name).trim().slice(1).replace(/^(.)(.)(.)$/, '$1$1$2$2$3$3'); \
               return 0.2126 * level(hex.slice(0, 2)) + 0.7152 * level(hex.slice(2, 4)) + 0.0722 * level(hex.slice(4, 6)); }; \
             const ratio = (one, other) => { const [a, b] = [light(one), light(other)].sort(); return (b + 0.05) / (a + 0.05); }; \
             return ['--text', '--quiet', '--bad', '--mark', '--accent'].every((ink) => ['--ground', '--panel'].every((ground) => ratio(ink, ground) > 4.5)) \
               && ratio('--on-accent', '--accent') > 4.5 && ratio('--text', '--own') > 4.5 && ratio('--text', '--loud') > 4.5; })()";
        assert_eq!(alice.says(contrast), "true", "{scheme}");
    }
}

#[test]
fn only_the_first_browser_of_the_same_user_with_the_right_address_is_let_in() {
    let window = Window::start(&[]);
    let (port, path) = (window.port(), window.path());
    let is_refused = |answer: String| assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let ask = |path: &str, headers: &str| window.get(path, headers);
    // Before anybody is in: another token, another name for the machine, another origin, another method.
    is_refused(ask("/", ""));
    is_refused(ask(&format!("/{}/", "A".repeat(43)), ""));
    is_refused(ask(&path[..path.len() - 2], ""));
    for host in [
        format!("evil.example:{port}"),
        "127.0.0.1".into(),
        format!("localhost:{port}"),
    ] {
        is_refused(window.answers(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    }
    is_refused(window.answers(&format!("GET {path} HTTP/1.1\r\n\r\n")));
    is_refused(window.answers(&format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    )));
    is_refused(window.answers(&format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    )));
    is_refused(ask(path, "Origin: http://evil.example\r\n"));
    is_refused(ask(path, "Origin: null\r\n"));
    is_refused(ask(&format!("{path}script.js"), ""));
    // A head without end costs a limit, and no more.
    assert_eq!(
        window.answers(&format!("GET {path} HTTP/1.1\r\nX: {}", "x".repeat(20_000))),
        ""
    );

    let first = ask(path, "");
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let header = |name: &str| {
        let mut lines = first
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        lines
            .next()
            .unwrap_or_else(|| panic!("no {name} in {first}"))
            .to_owned()
    };
    let set = header("Set-Cookie");
    assert!(
        set.contains(&format!("; Path={path}; HttpOnly; SameSite=Strict")),
        "{set}"
    );
    let policy = header("Content-Security-Policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(header("Referrer-Policy"), "no-referrer");
    // The cookie is given once. Who has only the address is refused from now on.
    is_refused(ask(path, ""));
    let cookie = format!("Cookie: other=1; {}\r\n", set.split(';').next().unwrap());
    let file = ask(&format!("{path}script.js"), &cookie);
    assert!(
        file.starts_with("HTTP/1.1 200 ")
            && file.contains("text/javascript")
            && !file.contains("Set-Cookie")
    );
    is_refused(ask(
        &format!("{path}script.js"),
        "Cookie: fernchat=AAAA\r\n",
    ));
    is_refused(ask(&format!("{path}../etc/passwd"), &cookie));
    is_refused(ask(&format!("{path}file/0"), &cookie));
    // A WebSocket: with the cookie and the right origin only.
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let socket = format!("{path}socket");
    let ours = format!("Origin: http://127.0.0.1:{port}\r\n");
    is_refused(ask(&socket, &format!("{upgrade}{ours}")));
    is_refused(ask(&socket, &format!("{upgrade}{cookie}")));
    // To bring a file, too. A page of another site could send a form, but not with this cookie and this origin.
    let bring = |headers: &str| {
        let head = format!("POST {path}upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
        window.answers(&format!("{head}Content-Length: 0\r\n{headers}\r\n"))
    };
    is_refused(bring(&cookie));
    is_refused(bring(&ours));
    is_refused(bring(&format!("{cookie}Origin: null\r\n")));
    is_refused(ask(&format!("{path}upload"), &format!("{cookie}{ours}")));
    is_refused(ask(
        &socket,
        &format!("{upgrade}{cookie}Origin: http://127.0.0.1:{}\r\n", port ^ 1),
    ));
    let mut page = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request =
        format!("GET {socket} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{upgrade}{cookie}{ours}\r\n");
    page.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 256];
    let n = page.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    // The example of RFC 6455.
    assert!(
        answer.contains("101 Switching") && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{answer}"
    );
    // A message without a mask, or one that claims too much, ends this page, and no more.
    page.write_all(&[
        0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ])
    .unwrap();
    let mut rest = Vec::new();
    page.set_read_timeout(Some(DEADLINE)).unwrap();
    // A reset is an end, too.
    let _ = page.read_to_end(&mut rest);
    assert!(ask(path, &cookie).starts_with("HTTP/1.1 200 "));

    if status_of(std::process::id(), "Uid") != 0 {
        return skipped("only root can try it as another user");
    }
    let script = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.sendall(sys.argv[2].encode()); print(s.recv(99))";
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{cookie}\r\n");
    let as_user = |user: u32| {
        let mut command = Command::new("python3");
        command
            .args(["-c", script, &port.to_string(), &request])
            .current_dir("/")
            .uid(user)
            .gid(user);
        let output = command.output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(as_user(0).contains("200 OK"));
    assert!(!as_user(65534).contains("HTTP"));
}

#[test]
fn a_page_of_another_origin_gets_nothing() {
    let window = Window::start(&[]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let evil = format!("http://127.0.0.1:{}/", other.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for socket in other.incoming() {
            let mut socket = socket.unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil");
        }
    });
    let Some(mut browser) = Browser::open(&window.address) else {
        return;
    };
    // This browser has the cookie.
    browser.waits("!document.getElementById('start').hidden");
    browser.does("tab", &json(&evil));
    browser.shows("evil");
    let try_all = format!(
        "(() => {{ const address = {}; window.came = []; \
         const socket = new WebSocket(address.replace('http', 'ws') + 'socket'); socket.onopen = () => came.push('opened'); socket.onerror = () => came.push('refused'); \
         fetch(address + 'script.js', {{ credentials: 'include' }}).then(() => came.push('fetched'), () => came.push('refused')); \
         const frame = document.createElement('iframe'); frame.src = address; frame.onload = () => {{ let text = ''; \
           try {{ text = frame.contentDocument.body.innerText; }} catch {{ }} came.push(text ? 'framed' : 'refused'); }}; document.body.append(frame); }})()",
        json(&window.address)
    );
    browser.says(&try_all);
    browser.waits("came.length === 3");
    assert_eq!(browser.says("came.join()"), "\"refused,refused,refused\"");
}

#[test]
fn the_program_ends_a_minute_after_its_last_page() {
    let Some((_server, mut window, mut alice, mut bob)) = alice_and_bob() else {
        return;
    };
    // To load the page again is not to leave it.
    alice.says("location.reload()");
    alice.shows("bob is now a member");
    let closed = Instant::now();
    drop(alice);
    assert!(
        window
            .program
            .ends_within(Duration::from_secs(100))
            .success()
    );
    assert!(closed.elapsed() >= Duration::from_secs(59));
    bob.types("/online");
    bob.hears_next("online: bob");
}
