//! Files and directories with modes that do not depend on the umask, created in directories where no other
//! user can have put something in their place.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ashore_kernel::this_boot;
use ashore_store::Backlog;
use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// An open directory that only this process's user may write. Operations are relative to the open directory,
/// so they act on it even if its path leads elsewhere by then.
pub(crate) struct Directory(File);

impl Directory {
    /// Opens an existing directory. Its owner and mode are not checked, so only the result of
    /// [`Directory::inside`] may be trusted.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path)?;
        Ok(Directory(file))
    }

    /// Opens a directory in this one, creates it if it is missing, and sets its mode. Fails if it belongs to
    /// another user.
    pub(crate) fn inside(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(nix::Error::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.existing(name, mode)
    }

    /// Opens an existing directory in this one, and sets its mode. Fails if it belongs to another user.
    pub(crate) fn existing(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        let directory = self.open(name, OFlag::O_DIRECTORY | OFlag::O_RDONLY)?;
        with_mode(&directory, mode)?;
        Ok(Directory(directory))
    }

    /// Opens a file in this directory for writing, creates it if it is missing, and sets its mode. Fails
    /// unless it is a regular file of this user with a single name.
    pub(crate) fn file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        self.own_file(name, OFlag::O_CREAT | OFlag::O_WRONLY, mode)
    }

    /// Opens a file in this directory for reading and writing. The file is checked as in [`Directory::file`].
    pub(crate) fn kept_file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        self.own_file(name, OFlag::O_CREAT | OFlag::O_RDWR, mode)
    }

    /// Reads a file in this directory, up to `most` bytes. The file is checked as in [`Directory::file`].
    pub(crate) fn read(&self, name: &OsStr, mode: u32, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.own_file(name, OFlag::O_RDONLY, mode)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn own_file(&self, name: &OsStr, flags: OFlag, mode: u32) -> io::Result<File> {
        let file = self.open(name, flags | OFlag::O_NONBLOCK)?;
        let there = file.metadata()?;
        // A second name may be that of a file that Ashore must not touch.
        if !there.is_file() || there.nlink() != 1 {
            return Err(not_ours("it is not a regular file with a single hard link"));
        }
        with_mode(&file, mode)?;
        Ok(file)
    }

    /// Removes a file from this directory.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes an empty directory from this directory.
    pub(crate) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::RemoveDir)?)
    }

    /// The names in this directory.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut directory = Dir::openat(&self.0, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let entries = directory.iter().filter_map(Result::ok);
        let names = entries.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        Ok(names.filter(|name| name != "." && name != "..").collect())
    }

    fn open(&self, name: &OsStr, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.0, name, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(file) => Ok(file.into()),
            Err(nix::Error::ELOOP | nix::Error::ENOTDIR) => Err(not_ours("it is a link or not a directory")),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Sets the mode of a file that belongs to this user. Fails if it belongs to another user.
fn with_mode(file: &File, mode: u32) -> io::Result<()> {
    let there = file.metadata()?;
    if there.uid() != geteuid().as_raw() {
        return Err(not_ours(&format!("it belongs to user {}", there.uid())));
    }
    if there.mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn not_ours(why: &str) -> io::Error {
    let message = format!("{why}, so Ashore does not use it; remove it");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

/// Creates a directory and its parents if they are missing, with the given mode.
pub(crate) fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_directories(above, mode)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Another process created it at the same moment.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        created => created?,
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    with_mode(&File::options().read(true).custom_flags(flags.bits()).open(path)?, mode)
}

/// Opens the backlog of a state, in the run directory of its daemon. Where there can be none, everything works, and
/// each change is written to the disk. Fails if there is one that cannot be opened: it has changes that are not on
/// the disk, and a later start must not find it out of date.
pub(crate) fn backlog(run: &Path) -> io::Result<Option<Backlog>> {
    const NAME: &str = "backlog";
    let Some(boot) = this_boot() else { return Ok(None) };
    let open = || {
        make_directories(run, 0o755)?;
        Directory::at(run)?.kept_file(NAME.as_ref(), 0o600)
    };
    match open() {
        Ok(file) => Ok(Some(Backlog::of(file, boot))),
        Err(error) if fs::symlink_metadata(run.join(NAME)).is_ok() => Err(error),
        Err(error) => {
            tracing::warn!("no backlog in {}: {error}", run.display());
            Ok(None)
        }
    }
}

/// Creates or replaces a file atomically, with the given mode.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Programs that read whole directories skip hidden files.
    let mut unfinished = OsString::from(".");
    unfinished.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    unfinished.push(".new");
    let unfinished = path.with_file_name(unfinished);
    let _ = fs::remove_file(&unfinished);
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&unfinished)))
}
