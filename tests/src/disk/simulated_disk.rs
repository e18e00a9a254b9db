//! A disk that plays a journal, and the folder that a power loss leaves of it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::path::Path;

use super::journal::{Event, Journal};

/// The unsynced changes that a power loss takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of them.
    Everything,
    /// The bytes, but not the entries: the files exist and are too short.
    Bytes,
    /// All after a random moment for each file and folder; the last write may be torn.
    Ends,
    /// All entries after a random moment, and random pages of the bytes, which read as zeros.
    Pages,
    /// None, as when only the process is killed.
    Nothing,
}

/// A disk: durable contents, and changes that no sync has made durable.
pub struct SimulatedDisk<'j> {
    journal: &'j Journal,
    nodes: Vec<Node>,
    open: HashMap<i32, usize>,
    played: usize,
    /// Syncs succeed and do nothing.
    ignores_syncs: bool,
}

enum Node {
    File { durable: Vec<u8>, pending: Vec<Change> },
    Folder { durable: BTreeMap<String, usize>, now: BTreeMap<String, usize>, pending: Vec<Entry> },
}

#[derive(Clone)]
struct Change {
    what: Edit,
    /// A sync of the change failed. No later sync makes it durable; a power loss may take it at any time.
    never_durable: bool,
}

#[derive(Clone)]
enum Edit {
    Write { offset: u64, data: Range<usize> },
    Truncate(u64),
}

/// A change of a folder: an entry is removed, then one is added.
#[derive(Clone)]
struct Entry {
    removed: Option<String>,
    added: Option<(String, usize)>,
}

const PAGE: usize = 4096;
const ROOT: usize = 0;
const CREATE: u64 = 0o100;
const TRUNCATE: u64 = 0o1000;
const ACCESS: u64 = 3;

// === impl SimulatedDisk: playing ===

impl<'j> SimulatedDisk<'j> {
    /// An empty disk, before the first event.
    pub fn new(journal: &'j Journal) -> Self {
        Self { journal, nodes: vec![Node::folder()], open: HashMap::new(), played: 0, ignores_syncs: false }
    }

    /// A disk on which the contents of a folder are durable before the first event.
    pub fn over(journal: &'j Journal, folder: &Path) -> Self {
        let mut disk = Self::new(journal);
        disk.nodes.clear();
        disk.load(folder);
        disk
    }

    /// Adds a node for the file or folder at a path, and returns its number.
    fn load(&mut self, path: &Path) -> usize {
        let number = self.nodes.len();
        if path.is_file() {
            self.nodes.push(Node::File { durable: fs::read(path).unwrap(), pending: Vec::new() });
            return number;
        }
        self.nodes.push(Node::folder());
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        let entries: BTreeMap<String, usize> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), self.load(&entry.path())))
            .collect();
        let (durable, now) = (entries.clone(), entries);
        self.nodes[number] = Node::Folder { durable, now, pending: Vec::new() };
        number
    }

    /// The same disk, but syncs do nothing.
    pub fn that_ignores_syncs(self) -> Self {
        Self { ignores_syncs: true, ..self }
    }

    /// Plays events until this number of them has happened.
    pub fn play_to(&mut self, events: usize) {
        while self.played < events {
            self.play(&self.journal.events[self.played].clone());
            self.played += 1;
        }
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::Start => self.open.clear(),
            Event::Open { fd, path, flags } => self.opened(*fd, path, *flags),
            Event::Write { fd, offset, data } => {
                self.change(*fd, Edit::Write { offset: *offset, data: data.clone() });
            }
            Event::Truncate { fd, size } => self.change(*fd, Edit::Truncate(*size)),
            Event::Sync { fd, failed } => self.sync(*fd, *failed),
            Event::Rename { from, to } => self.rename(from, to),
            Event::Remove { path } => {
                let (folder, name) = self.place(path);
                self.enter(folder, Entry { removed: Some(name), added: None });
            }
            Event::MakeFolder { path } => self.create(path, Node::folder()),
            Event::Close { fd } => drop(self.open.remove(fd)),
        }
    }

    fn opened(&mut self, fd: i32, path: &str, flags: u64) {
        if self.find(path).is_none() {
            assert!(flags & CREATE != 0, "{path} is opened and does not exist");
            self.create(path, Node::File { durable: Vec::new(), pending: Vec::new() });
        }
        let node = self.find(path).unwrap();
        self.open.insert(fd, node);
        if flags & TRUNCATE != 0 && flags & ACCESS != 0 {
            self.change(fd, Edit::Truncate(0));
        }
    }

    fn change(&mut self, fd: i32, what: Edit) {
        match &mut self.nodes[self.open[&fd]] {
            Node::File { pending, .. } => pending.push(Change { what, never_durable: false }),
            Node::Folder { .. } => panic!("bytes are written to a folder"),
        }
    }

    fn sync(&mut self, fd: i32, failed: bool) {
        if self.ignores_syncs {
            return;
        }
        let bytes = &self.journal.bytes;
        match &mut self.nodes[self.open[&fd]] {
            Node::File { pending, .. } if failed => {
                pending.iter_mut().for_each(|change| change.never_durable = true);
            }
            Node::File { durable, pending } => {
                let synced = pending.extract_if(.., |change| !change.never_durable);
                synced.for_each(|change| change.what.apply(durable, bytes));
            }
            Node::Folder { durable, now, pending } if !failed => {
                durable.clone_from(now);
                pending.clear();
            }
            Node::Folder { .. } => {}
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        let node = self.find(from).expect("what is renamed is there");
        let ((from_folder, old), (to_folder, new)) = (self.place(from), self.place(to));
        let added = Some((new, node));
        if from_folder == to_folder {
            self.enter(to_folder, Entry { removed: Some(old), added });
        } else {
            self.enter(to_folder, Entry { removed: None, added });
            self.enter(from_folder, Entry { removed: Some(old), added: None });
        }
    }

    fn create(&mut self, path: &str, node: Node) {
        let (folder, name) = self.place(path);
        self.nodes.push(node);
        self.enter(folder, Entry { removed: None, added: Some((name, self.nodes.len() - 1)) });
    }

    fn enter(&mut self, folder: usize, entry: Entry) {
        let Node::Folder { now, pending, .. } = &mut self.nodes[folder] else { panic!("no folder") };
        entry.apply(now);
        pending.push(entry);
    }

    fn find(&self, path: &str) -> Option<usize> {
        let names = path.split('/').filter(|name| !["", "."].contains(name));
        names.into_iter().try_fold(ROOT, |node, name| match &self.nodes[node] {
            Node::Folder { now, .. } => now.get(name).copied(),
            Node::File { .. } => None,
        })
    }

    /// The number of the folder of a path, and the last name.
    fn place(&self, path: &str) -> (usize, String) {
        let path = path.trim_end_matches('/');
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        (self.find(folder).expect("a folder for every entry"), name.to_owned())
    }
}

// === impl SimulatedDisk: power loss ===

impl SimulatedDisk<'_> {
    /// The text of a file at this moment, without a power loss.
    pub fn text(&self, path: &str) -> String {
        let Some(Node::File { durable, pending }) = self.find(path).map(|node| &self.nodes[node]) else {
            return String::new();
        };
        let mut bytes = durable.clone();
        pending.iter().for_each(|change| change.what.apply(&mut bytes, &self.journal.bytes));
        String::from_utf8(bytes).unwrap()
    }

    /// Writes what a power loss at this moment leaves of `path` to `folder`.
    pub fn lose_power(&self, loss: Loss, random: &mut fastrand::Rng, path: &str, folder: &Path) {
        // The file can be reached only through entries that are durable or survive.
        let names = path.split('/');
        let node =
            names.into_iter().try_fold(ROOT, |node, name| self.entries(node, loss, random).remove(name));
        if let Some(node) = node {
            self.leave(node, loss, random, folder);
        }
    }

    fn leave(&self, node: usize, loss: Loss, random: &mut fastrand::Rng, path: &Path) {
        match &self.nodes[node] {
            Node::File { durable, pending } => {
                let mut bytes = durable.clone();
                left(pending, loss, random)
                    .iter()
                    .for_each(|edit| edit.apply(&mut bytes, &self.journal.bytes));
                fs::write(path, bytes).unwrap();
            }
            Node::Folder { .. } => {
                fs::create_dir_all(path).unwrap();
                for (name, node) in self.entries(node, loss, random) {
                    self.leave(node, loss, random, &path.join(name));
                }
            }
        }
    }

    fn entries(&self, node: usize, loss: Loss, random: &mut fastrand::Rng) -> BTreeMap<String, usize> {
        let Node::Folder { durable, pending, .. } = &self.nodes[node] else { return BTreeMap::new() };
        let mut entries = durable.clone();
        let most = match loss {
            Loss::Everything => 0,
            Loss::Ends | Loss::Pages => random.usize(..=pending.len()),
            Loss::Bytes | Loss::Nothing => pending.len(),
        };
        pending[..most].iter().for_each(|entry| entry.apply(&mut entries));
        entries
    }
}

/// The unsynced changes that survive.
fn left(pending: &[Change], loss: Loss, random: &mut fastrand::Rng) -> Vec<Edit> {
    let all = pending.iter().map(|change| change.what.clone());
    match loss {
        Loss::Everything | Loss::Bytes => Vec::new(),
        Loss::Nothing => all.collect(),
        Loss::Ends => {
            let most = random.usize(..=pending.len());
            let mut kept: Vec<Edit> = all.take(most).collect();
            if let Some(Edit::Write { data, .. }) = kept.last_mut() {
                data.end = random.usize(data.start..=data.end);
            }
            kept
        }
        Loss::Pages => all.flat_map(Edit::pages).filter(|_| random.bool()).collect(),
    }
}

// === impl Node ===

impl Node {
    fn folder() -> Self {
        Self::Folder { durable: BTreeMap::new(), now: BTreeMap::new(), pending: Vec::new() }
    }
}

// === impl Edit ===

impl Edit {
    fn apply(&self, file: &mut Vec<u8>, journal: &[u8]) {
        match self {
            Self::Truncate(size) => file.resize(*size as usize, 0),
            Self::Write { offset, data } => {
                let begin = *offset as usize;
                let end = begin + data.len();
                file.resize(file.len().max(end), 0);
                file[begin..end].copy_from_slice(&journal[data.clone()]);
            }
        }
    }

    /// Splits a write at the pages of the file.
    fn pages(self) -> Vec<Self> {
        let Self::Write { mut offset, mut data } = self else { return vec![self] };
        let mut pages = Vec::new();
        while !data.is_empty() {
            let length = (PAGE - offset as usize % PAGE).min(data.len());
            pages.push(Self::Write { offset, data: data.start..data.start + length });
            data.start += length;
            offset += length as u64;
        }
        pages
    }
}

// === impl Entry ===

impl Entry {
    fn apply(&self, entries: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.removed {
            entries.remove(name);
        }
        if let Some((name, node)) = &self.added {
            entries.insert(name.clone(), *node);
        }
    }
}
