//! Files and directories whose modes do not follow the umask, made where nobody else can have put something in their place.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// A directory that this process's user alone may write, open: what is done by it is done in it, wherever its path leads by then.
pub(crate) struct Directory(File);

impl Directory {
    /// A directory that is there. Whose it is, and who else may write it, is not asked: nothing but [`Directory::inside`] of it
    /// may be trusted.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path)?;
        Ok(Directory(file))
    }

    /// A directory in it, with a mode; made if it is missing. Another user's is refused.
    pub(crate) fn inside(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        match mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(nix::Error::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.existing(name, mode)
    }

    /// The same of one that is there.
    pub(crate) fn existing(&self, name: &OsStr, mode: u32) -> io::Result<Self> {
        let directory = self.open(name, OFlag::O_DIRECTORY | OFlag::O_RDONLY)?;
        with_mode(&directory, mode)?;
        Ok(Directory(directory))
    }

    /// A file in it to be written, with a mode; made if it is missing. What is no file of this user's alone is refused.
    pub(crate) fn file(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        self.own_file(name, OFlag::O_CREAT | OFlag::O_WRONLY, mode)
    }

    /// What is in such a file, up to some length.
    pub(crate) fn read(&self, name: &OsStr, mode: u32, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.own_file(name, OFlag::O_RDONLY, mode)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn own_file(&self, name: &OsStr, flags: OFlag, mode: u32) -> io::Result<File> {
        let file = self.open(name, flags | OFlag::O_NONBLOCK)?;
        let there = file.metadata()?;
        // Its other name may be that of a file that was never meant.
        if !there.is_file() || there.nlink() != 1 {
            return Err(not_ours("it is no file with one name"));
        }
        with_mode(&file, mode)?;
        Ok(file)
    }

    /// Removes a file in it.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes a directory in it that is empty.
    pub(crate) fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::RemoveDir)?)
    }

    /// The names in it.
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
            Err(nix::Error::ELOOP | nix::Error::ENOTDIR) => Err(not_ours("it is a link, or of another kind")),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Gives what is this user's a mode.
fn with_mode(file: &File, mode: u32) -> io::Result<()> {
    let there = file.metadata()?;
    if there.uid() != geteuid().as_raw() {
        return Err(not_ours(&format!("it belongs to the user {}", there.uid())));
    }
    if there.mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn not_ours(why: &str) -> io::Error {
    let message = format!("{why}, so it is not Ashore's; remove it");
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

/// Makes a directory and those above it, where they are missing, with a mode.
pub(crate) fn make_directories(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_directories(above, mode)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Somebody else made it at the same moment.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        created => created?,
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    with_mode(&File::options().read(true).custom_flags(flags.bits()).open(path)?, mode)
}

/// Puts a file where there is none or another one, with a mode, at no moment half a file.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Programs that read whole directories pass over names such as this.
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
