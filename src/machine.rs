//! What is asked of the operating system: limits, free disk space, private files, signals, addresses, local time. Where systems differ,
//! they differ here and nowhere else.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf, is_separator};
use std::str::FromStr;

use chrono::{Local, NaiveDateTime, SubsecRound};
use tempfile::NamedTempFile;

/// Descriptors that are neither for clients nor for spooled bodies: the listening socket, standard streams, the state file.
const OTHER_DESCRIPTORS: u64 = 16;

/// The most spooled bodies at one time: each takes a descriptor.
const MAX_BODIES: u64 = 96;

/// Memory mappings per thread: stack, guard page, the alternate signal stack and its guard. Past the kernel's limit on
/// mappings Rust's runtime aborts the process, and no code can handle that.
const MAPS_PER_THREAD: u64 = 4;

/// Address space per thread, in bytes: its stack with the guards, and what the allocator keeps for it. Rounded up.
const SPACE_PER_THREAD: u64 = 256 << 10;

/// What a thread takes of the memory, in bytes: the pages of its stack that it uses, and what the system keeps for it. Rounded up.
const MEMORY_PER_THREAD: u64 = 40 << 10;

/// Threads that are not for clients: the main thread, the clock, the fan-out, the log and the signals, and some to spare.
const OTHER_THREADS: u64 = 8;

/// How many clients of two threads this process can have, and what keeps it from having more. A thread that is not needed yet counts,
/// because many may be needed at once. Raises the soft limit on descriptors as far as the system allows.
pub(crate) fn client_ceiling() -> (usize, &'static str) {
    let descriptors = descriptors();
    // 65,530 is Linux's default. A sixteenth is for everything else.
    let maps = number_in("/proc/sys/vm/max_map_count").unwrap_or(65_530) * 15 / 16;
    let two_threads = |threads: u64| threads.saturating_sub(OTHER_THREADS) / 2;
    let limits = [
        (
            descriptors.saturating_sub(OTHER_DESCRIPTORS + body_ceiling() as u64),
            "open files (ulimit -n)",
        ),
        (
            two_threads(maps / MAPS_PER_THREAD),
            "memory mappings (vm.max_map_count)",
        ),
        (
            two_threads(threads_left()),
            "threads (ulimit -u, or pids.max of its control group)",
        ),
        (
            two_threads(space_left() / SPACE_PER_THREAD),
            "address space (ulimit -v)",
        ),
        (
            two_threads(memory().unwrap_or(u64::MAX) / 2 / MEMORY_PER_THREAD),
            "memory, of which their threads may take half",
        ),
    ];
    let (ceiling, limit) = limits.into_iter().min().unwrap_or((0, "nothing"));
    (usize::try_from(ceiling).unwrap_or(usize::MAX), limit)
}

/// How many spooled bodies this process can have open.
pub(crate) fn body_ceiling() -> usize {
    MAX_BODIES.min(descriptors() / 8) as usize
}

/// How many threads this process may still start. Threads of the same user count, and those of the same control group.
#[cfg(target_os = "linux")]
fn threads_left() -> u64 {
    use rustix::process::{Resource, getrlimit, getuid};
    let user = getuid();
    // The system does not apply the limit to root.
    let limit = getrlimit(Resource::Nproc).current;
    let by_user = match limit.filter(|_| !user.is_root()) {
        Some(limit) => limit.saturating_sub(threads_of(user.as_raw())),
        None => u64::MAX,
    };
    let in_group = |file: &str| -> Option<u64> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        number_in(format!("/sys/fs/cgroup{path}/{file}"))
    };
    let by_group = match (in_group("pids.max"), in_group("pids.current")) {
        (Some(max), Some(current)) => max.saturating_sub(current),
        _ => u64::MAX,
    };
    by_user.min(by_group)
}

/// How many threads all processes of this user have.
#[cfg(target_os = "linux")]
fn threads_of(user: u32) -> u64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let threads = processes.filter_map(|process| {
        let number = |name| field_of_status(&process.path(), name)?.parse::<u64>().ok();
        number("Threads").filter(|_| number("Uid") == Some(u64::from(user)))
    });
    threads.sum()
}

/// How much address space this process may still use, in bytes.
#[cfg(target_os = "linux")]
fn space_left() -> u64 {
    use rustix::process::{Resource, getrlimit};
    let used = field_of_status(Path::new("/proc/self"), "VmSize");
    let used: u64 = used.and_then(|kib| kib.parse().ok()).unwrap_or(0) << 10;
    let limit = getrlimit(Resource::As).current;
    limit.map_or(u64::MAX, |limit| limit.saturating_sub(used))
}

#[cfg(not(target_os = "linux"))]
fn threads_left() -> u64 {
    u64::MAX
}

#[cfg(not(target_os = "linux"))]
fn space_left() -> u64 {
    u64::MAX
}

#[cfg(unix)]
fn descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Refused, the soft limit stays as it is, and the next line reads it.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn descriptors() -> u64 {
    u64::MAX
}

/// The folder of this program's configuration. `None`: the user has no home folder.
pub(crate) fn configuration_folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.config_dir().join("fernchat"))
}

/// The free space on the disk that holds `folder`, in bytes. `None`: this system does not say.
#[cfg(unix)]
pub(crate) fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

/// The free space on the disk that holds `folder`, in bytes. `None`: this system does not say.
#[cfg(not(unix))]
pub(crate) fn free_space(_folder: &Path) -> Option<u64> {
    None
}

/// Reads from `offset` on, so several threads can read one file. On Windows this moves the file's own position: see [`write_all_at`].
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, buffer, offset);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_read(file, buffer, offset);
}

/// Writes all bytes from `offset` on, wherever others read in the file.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(windows)]
    return match std::os::windows::fs::FileExt::seek_write(file, bytes, offset)? {
        n if n == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    };
}

/// Writes as much as the socket takes without waiting. If it takes nothing now, that is an error.
#[cfg(unix)]
pub(crate) fn write_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(
        socket,
        bytes,
        rustix::net::SendFlags::DONTWAIT,
    )?)
}

/// Writes nothing: this system cannot write to a blocking socket without waiting. A thread that may wait does it.
#[cfg(not(unix))]
pub(crate) fn write_now(_socket: &TcpStream, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// The folder where the user's programs put what they download. `None`: there is none.
pub(crate) fn downloads_folder() -> Option<PathBuf> {
    let usual = || Some(dirs::home_dir()?.join("Downloads"));
    let folder = dirs::download_dir().or_else(usual);
    folder.filter(|folder| folder.is_dir())
}

/// A file without a name, or with a temporary one where the system cannot do that. It has the permissions of any new file, and is gone when
/// it is dropped. One without a name is gone also after a crash.
pub(crate) enum TemporaryFile {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Unnamed(File),
    Named(NamedTempFile),
}

impl TemporaryFile {
    /// Makes one in this folder.
    pub(crate) fn create(folder: &Path) -> io::Result<TemporaryFile> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let (Ok(file), true) = (unnamed_file(folder), Path::new(OWN_FILES).exists()) {
            return Ok(TemporaryFile::Unnamed(file));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".fernchat-").suffix(".part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(folder).map(TemporaryFile::Named)
    }

    /// The file.
    pub(crate) fn file(&mut self) -> &mut File {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            TemporaryFile::Unnamed(file) => file,
            TemporaryFile::Named(file) => file.as_file_mut(),
        }
    }

    /// Gives the file this name, unless there is a file of this name: then it comes back.
    pub(crate) fn persist_new(self, path: &Path) -> Result<(), (io::Error, TemporaryFile)> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            TemporaryFile::Unnamed(file) => {
                use rustix::fs::{AtFlags, CWD, linkat};
                let own = format!("{OWN_FILES}/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
                let linked = linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW);
                linked.map_err(|error| (error.into(), TemporaryFile::Unnamed(file)))
            }
            TemporaryFile::Named(file) => match file.persist_noclobber(path) {
                Ok(_) => Ok(()),
                Err(taken) => Err((taken.error, TemporaryFile::Named(taken.file))),
            },
        }
    }
}

/// Where this process finds its open files.
#[cfg(any(target_os = "linux", target_os = "android"))]
const OWN_FILES: &str = "/proc/self/fd";

#[cfg(any(target_os = "linux", target_os = "android"))]
fn unnamed_file(folder: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    Ok(File::from(open(folder, flags, mode)?))
}

/// Makes a file that only its owner can read. It must not exist.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    private().write(true).create_new(true).open(path)
}

/// Opens a file to read it, and to write at its end. If it does not exist, it is made, and only its owner can read it.
pub(crate) fn append_private(path: &Path) -> io::Result<File> {
    private().read(true).append(true).create(true).open(path)
}

/// Makes a file that only its owner can read, in place of one that may be there.
pub(crate) fn replace_private(path: &Path) -> io::Result<File> {
    private().write(true).create(true).truncate(true).open(path)
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Windows does this by itself, and opens no folder.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn private() -> OpenOptions {
    #[allow(unused_mut)] // Only on unix.
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Waits until standard input has something. The parent may have set it so that a read does not wait by itself.
pub(crate) fn wait_for_input() {
    #[cfg(unix)]
    wait_for(&io::stdin(), rustix::event::PollFlags::IN);
}

/// Waits until standard output takes something: see [`wait_for_input`].
pub(crate) fn wait_for_output() {
    #[cfg(unix)]
    wait_for(&io::stdout(), rustix::event::PollFlags::OUT);
}

/// Waits until nobody reads standard output any more, if it is a pipe. Otherwise, and where the system does not tell, for ever.
pub(crate) fn wait_for_end_of_output() {
    #[cfg(unix)]
    wait_for(&io::stdout(), rustix::event::PollFlags::empty());
    #[cfg(not(unix))]
    loop {
        std::thread::park();
    }
}

#[cfg(unix)]
fn wait_for(stream: &impl std::os::fd::AsFd, what: rustix::event::PollFlags) {
    use rustix::event::{PollFd, poll};
    // A signal interrupts it. What else fails here, fails at the next read or write, too.
    while poll(&mut [PollFd::new(stream, what)], None) == Err(rustix::io::Errno::INTR) {}
}

/// Makes reads and writes of the terminal wait, whatever the parent has set.
#[cfg(feature = "editor")]
pub(crate) fn make_terminal_wait() {
    #[cfg(unix)]
    {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        // Both are one terminal. If it refuses, the editor says what is wrong.
        let _ = fcntl_getfl(io::stdin())
            .and_then(|flags| fcntl_setfl(io::stdin(), flags - OFlags::NONBLOCK));
        let _ = fcntl_getfl(io::stdout())
            .and_then(|flags| fcntl_setfl(io::stdout(), flags - OFlags::NONBLOCK));
    }
}

/// What others than its owner may do with this file: `read`, `change`, or both.
#[cfg(unix)]
pub(crate) fn open_to_others(file: &File) -> Option<&'static str> {
    let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().ok()?);
    match (mode & 0o044 != 0, mode & 0o022 != 0) {
        (false, false) => None,
        (true, false) => Some("read"),
        (false, true) => Some("change"),
        (true, true) => Some("read and change"),
    }
}

/// What others than its owner may do with this file. This system does not say.
#[cfg(not(unix))]
pub(crate) fn open_to_others(_file: &File) -> Option<&'static str> {
    None
}

/// Starts a thread that is not joined: it may wait for the person, and a read of the keyboard cannot be woken.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = std::thread::Builder::new().name(name.into());
    builder.spawn(body).map(drop)
}

/// Calls `act` at each Ctrl-C, SIGTERM and SIGHUP, in a thread of its own. The process then does not end by itself. What was ignored at
/// the start, as SIGHUP under nohup, stays ignored. SIGINT does not: a script's shell ignores it for all that runs in the background.
#[cfg(unix)]
pub(crate) fn at_signal(mut act: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = field_of_status(Path::new("/proc/self"), "SigIgn")
        .and_then(|set| u64::from_str_radix(&set, 16).ok())
        .unwrap_or(0);
    let signals = [SIGINT, SIGTERM, SIGHUP].into_iter();
    let signals = signals.filter(|signal| *signal == SIGINT || ignored & (1 << (signal - 1)) == 0);
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    spawn("signals", move || signals.forever().for_each(|_| act()))
}

/// Calls `act` at each Ctrl-C, in a thread of its own. The process then does not end by itself.
#[cfg(not(unix))]
pub(crate) fn at_signal(act: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(act).map_err(io::Error::other)
}

/// The first word that Linux says of a process under this name: see proc_pid_status(5). `None`: another system.
#[cfg(unix)]
fn field_of_status(process: &Path, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.split_whitespace().next()?.to_owned())
}

/// Whether the process at the other end of a connection on 127.0.0.1 belongs to this user, or to root. If the system does not say, it does.
#[cfg(all(feature = "window", target_os = "linux"))]
pub(crate) fn is_own_connection(socket: &TcpStream) -> bool {
    let (Ok(peer), Ok(here)) = (socket.peer_addr(), socket.local_addr()) else {
        return false;
    };
    // See proc_net_tcp(5). An IPv4 address in an IPv6 socket stands at the end of the longer number.
    let number = u32::from_ne_bytes(std::net::Ipv4Addr::LOCALHOST.octets());
    let ends = [peer, here].map(|end| format!("{number:08X}:{:04X}", end.port()));
    let owner = |row: &str| {
        let mut fields = row.split_whitespace().skip(1);
        let is_end = |end: &String| fields.next().is_some_and(|field| field.ends_with(end));
        let is_it = ends.iter().all(is_end);
        fields.nth(4)?.parse::<u32>().ok().filter(|_| is_it)
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let mut rows = tables.iter().flatten().flat_map(|table| table.lines());
    let owner = rows.find_map(owner);
    owner.is_none_or(|user| user == 0 || user == rustix::process::getuid().as_raw())
}

/// Whether the process at the other end of a connection on 127.0.0.1 belongs to this user. This system does not say.
#[cfg(all(feature = "window", not(target_os = "linux")))]
pub(crate) fn is_own_connection(_socket: &TcpStream) -> bool {
    true
}

/// The first port that any user may listen on.
pub(crate) fn first_free_port() -> u16 {
    number_in("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(1024)
}

/// What a file of the system holds, if that is a number.
fn number_in<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The name of this machine.
#[cfg(feature = "discovery")]
pub(crate) fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    if name.is_empty() {
        "fernchat".into()
    } else {
        name
    }
}

/// The addresses of this machine at which others can reach it, the most likely one first: that of the default route, then IPv4.
pub(crate) fn addresses() -> Vec<IpAddr> {
    // If the system does not tell its addresses, that is no reason not to start.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let is_of_use = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        // A link-local address needs its interface named, which few know how to do.
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let is_up = |interface: &&if_addrs::Interface| interface.is_oper_up();
    let addresses = interfaces.iter().filter(is_up).map(if_addrs::Interface::ip);
    let mut addresses: Vec<IpAddr> = addresses.filter(is_of_use).collect();
    let defaults = [
        default_address((Ipv4Addr::UNSPECIFIED, 0).into(), [192, 0, 2, 1].into()),
        default_address(
            (Ipv6Addr::UNSPECIFIED, 0).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    ];
    addresses.sort_by_key(|ip| (ip.is_ipv6(), !defaults.contains(&Some(*ip))));
    addresses
}

/// The address from which the system would send to this one, which stands for the whole internet: that of the default route. A UDP socket
/// that connects sends nothing.
fn default_address(any: SocketAddr, far: IpAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((far, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Local date and time, in whole seconds. It is displayed as `YYYY-MM-DD HH:MM:SS`.
pub(crate) fn local_time() -> NaiveDateTime {
    Local::now().naive_local().trunc_subsecs(0)
}

/// The file that a person means: as typed, or else without quotes and with the home folder in place of `~`.
pub(crate) fn typed_path(typed: &str) -> PathBuf {
    let as_typed = PathBuf::from(typed);
    if as_typed.exists() {
        return as_typed;
    }
    let unquoted = |quote: char| typed.strip_prefix(quote)?.strip_suffix(quote);
    at_home(['"', '\''].into_iter().find_map(unquoted).unwrap_or(typed))
}

/// The variable of the environment that says where home is.
const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// The path, with the home folder in place of a `~` at its beginning.
pub(crate) fn at_home(typed: &str) -> PathBuf {
    match (typed.strip_prefix('~'), std::env::var_os(HOME)) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with(is_separator) => {
            Path::new(&home).join(rest.trim_start_matches(is_separator))
        }
        _ => PathBuf::from(typed),
    }
}

/// Does to this process what Ctrl-C would do on a terminal.
#[cfg(feature = "editor")]
pub(crate) fn interrupt() {
    #[cfg(unix)]
    {
        // A process may always do this to itself.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
    }
}

/// A text for a person, without the numbers that the system has for its errors: `(os error 111)`.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let before = parts.next().unwrap_or_default().to_owned();
    parts.fold(before, |text, part| {
        text + part.split_once(')').map_or(part, |(_, rest)| rest)
    })
}

/// How many characters a row of the terminal holds, with the cursor behind them. `None`: this system does not say.
pub(crate) fn columns() -> Option<usize> {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdin()) {
        return usize::from(size.ws_col).checked_sub(1);
    }
    None
}

/// How many rows the terminal has.
#[cfg(feature = "editor")]
pub(crate) fn rows() -> usize {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdin()) {
        return usize::from(size.ws_row);
    }
    24
}

/// Drops what the terminal has sent and goes on sending, until it pauses.
#[cfg(feature = "editor")]
pub(crate) fn drop_input() {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::termios::{QueueSelector, tcflush};
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let stdin = io::stdin();
        let comes = || poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&pause));
        while tcflush(&stdin, QueueSelector::IFlush).is_ok() && comes().is_ok_and(|n| n > 0) {}
    }
}

/// Calls `act` whenever the program goes on after it was stopped, in a thread of its own.
#[cfg(all(feature = "editor", unix))]
pub(crate) fn at_continue(act: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGCONT])?;
    spawn("continued", move || signals.forever().for_each(|_| act()))
}

/// Windows stops no program.
#[cfg(all(feature = "editor", not(unix)))]
pub(crate) fn at_continue(_: impl Fn() + Send + 'static) -> io::Result<()> {
    Ok(())
}

/// Remembers the mode of the terminal. Returns a function that restores it.
#[cfg(feature = "editor")]
pub(crate) fn keep_terminal_mode() -> impl Fn() {
    #[cfg(unix)]
    let mode = rustix::termios::tcgetattr(io::stdin());
    move || {
        #[cfg(unix)]
        if let Ok(mode) = &mode {
            // Fails only if the terminal is gone.
            let _ = rustix::termios::tcsetattr(
                io::stdin(),
                rustix::termios::OptionalActions::Now,
                mode,
            );
        }
    }
}

/// The memory that this process may use, in bytes: all of the machine, or what its control groups allow. `None`: this system does not say.
pub(crate) fn memory() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let total = read("/proc/meminfo").and_then(|text| {
        let total = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = total.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib << 10)
    });
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    // A line is `number:controllers:path`. Version 2 has no controllers.
    let limits = groups.lines().filter_map(|line| {
        let (_, group) = line.split_once(':')?;
        let (folder, file, group) = match group.split_once(':')? {
            ("", group) => ("/sys/fs/cgroup", "memory.max", group),
            ("memory", group) => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", group),
            _ => return None,
        };
        // The groups around it have limits, too. "max", or a file that is not there, is none.
        let groups = Path::new(group).ancestors();
        let limit = |group: &Path| {
            let path = format!("{folder}{}/{file}", group.display());
            read(&path)?.trim().parse().ok()
        };
        groups.filter_map(limit).min()
    });
    limits.chain(total).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_as_typed_and_else_without_quotes_and_with_the_home_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        std::fs::write(folder.path().join("a b"), "").unwrap();
        std::fs::write(folder.path().join("'c'"), "").unwrap();
        assert_eq!(
            typed_path(&format!("\"{at}/a b\"")),
            folder.path().join("a b")
        );
        assert_eq!(typed_path(&format!("{at}/'c'")), folder.path().join("'c'"));
        let home = PathBuf::from(std::env::var_os(HOME).unwrap());
        assert_eq!(
            (typed_path("~"), typed_path("'~/no such file'")),
            (home.clone(), home.join("no such file"))
        );
        assert_eq!(
            (typed_path("~nobody"), typed_path("no such file")),
            (PathBuf::from("~nobody"), PathBuf::from("no such file"))
        );
    }
}
