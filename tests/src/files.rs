//! A directory of files in memory, for tests of code that writes backups: it ends the process after any step, and loses
//! names that were not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use spandrel_storage::backup::{FileLock, Files};

/// A directory in memory that ends the process after some steps.
#[derive(Clone, Default)]
pub struct Disk {
    state: Arc<Mutex<DiskState>>,
    /// Steps until the process is killed.
    steps: Arc<Mutex<Option<usize>>>,
}

#[derive(Clone, Default)]
struct DiskState {
    now: Names,
    durable: Names,
}

/// Files by name, and folders.
#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
}

/// How the process ends.
#[derive(Clone, Copy, PartialEq)]
pub enum Ending {
    /// By SIGKILL: every name stays.
    Killed,
    /// By power loss: only synced names stay.
    PowerLost,
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn last(name: &str) -> String {
    name.rsplit('/').next().unwrap().to_owned()
}

impl Disk {
    fn step(&self) -> io::Result<()> {
        match &mut *self.steps.lock().unwrap() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("killed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Ends the process after so many steps.
    pub fn end_after(&self, steps: Option<usize>) {
        *self.steps.lock().unwrap() = steps;
    }

    /// The directory that a new process finds after this ending.
    pub fn after(&self, ending: Ending) -> Self {
        let mut state = self.state.lock().unwrap().clone();
        if ending == Ending::PowerLost {
            state.now = state.durable.clone();
        }
        state.durable = state.now.clone();
        Self { state: Arc::new(Mutex::new(state)), steps: Arc::default() }
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().now.files.keys().cloned().collect()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Names) -> io::Result<T>) -> io::Result<T> {
        self.step()?;
        change(&mut self.state.lock().unwrap().now)
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Files for Disk {
    fn place(&self, name: &str) -> String {
        name.to_owned()
    }

    fn files(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let state = self.state.lock().unwrap();
        let found = state.now.files.iter().filter(|(name, _)| parent(name) == folder);
        Ok(found.map(|(name, bytes)| (last(name), bytes.len() as u64)).collect())
    }

    fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.state.lock().unwrap();
        Ok(state.now.folders.iter().filter(|name| parent(name) == folder).map(|name| last(name)).collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.state.lock().unwrap().now.files.get(name).cloned().ok_or_else(gone)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // A kill between the two steps leaves half of the file.
        let half = bytes[..bytes.len() / 2].to_vec();
        self.change(|names| {
            assert!(parent(name).is_empty() || names.folders.contains(parent(name)), "no folder for {name}");
            names.files.insert(name.to_owned(), half);
            Ok(())
        })?;
        self.change(|names| {
            names.files.insert(name.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.change(|names| {
            let bytes = names.files.remove(from).ok_or_else(gone)?;
            names.files.insert(to.to_owned(), bytes);
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.change(|names| names.files.remove(name).map(drop).ok_or_else(gone))
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        self.change(|names| {
            names.folders.insert(folder.to_owned());
            Ok(())
        })
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        self.step()?;
        let state = &mut *self.state.lock().unwrap();
        let here = |name: &String| parent(name) == folder;
        state.durable.files.retain(|name, _| !here(name));
        state.durable.folders.retain(|name| !here(name));
        let files = state.now.files.iter().filter(|(name, _)| here(name));
        state.durable.files.extend(files.map(|(name, bytes)| (name.clone(), bytes.clone())));
        state.durable.folders.extend(state.now.folders.iter().filter(|name| here(name)).cloned());
        // Files in a folder whose own name was not synced cannot be reached.
        let DiskState { durable, .. } = state;
        let Names { files, folders } = durable;
        files.retain(|name, _| parent(name).is_empty() || folders.contains(parent(name)));
        Ok(())
    }

    fn lock(&mut self, _: &str, _: FileLock) -> io::Result<bool> {
        Ok(true)
    }
}
