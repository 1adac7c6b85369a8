//! Texts whose keys and values are in memory: a tree of pages.
//!
//! A node is a page; its key is the tokens of its positions, and the path to it the text before
//! them. Only leaves may hold less than [`PAGE_LEN`] positions. No key begins another one beside
//! it. Texts of different namespaces have no node in common.

use ingle_formats::TokenId;
use ingle_tensor::ops::{PAGE_LEN, PageId};
use ingle_tensor::pages::PageKey;

/// The node of page `p` has index `p`, so that no step allocates.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    tokens: Vec<[TokenId; PAGE_LEN]>,
    /// The first of the pages at which texts begin.
    first: Option<PageId>,
    /// Nodes on which no sequence runs.
    unused: usize,
    clock: u64,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Positions that it holds; 0: the page is not in the tree.
    len: usize,
    namespace: u64,
    parent: Option<PageId>,
    /// The first of its children.
    child: Option<PageId>,
    /// The next child of its parent.
    sibling: Option<PageId>,
    /// Sequences that run on it.
    users: u32,
    /// When a sequence last began or ceased to run on it.
    used: u64,
    /// Under which name it is to go to disk.
    name: Option<PageKey>,
}

fn common(a: &[TokenId], b: &[TokenId]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Tree {
    pub fn new(n_pages: usize) -> Self {
        Self {
            nodes: vec![Node::default(); n_pages],
            tokens: vec![[TokenId(0); PAGE_LEN]; n_pages],
            first: None,
            unused: 0,
            clock: 0,
        }
    }

    fn node(&self, page: PageId) -> &Node {
        &self.nodes[page.0 as usize]
    }

    fn node_mut(&mut self, page: PageId) -> &mut Node {
        &mut self.nodes[page.0 as usize]
    }

    fn key(&self, page: PageId) -> &[TokenId] {
        &self.tokens[page.0 as usize][..self.node(page).len]
    }

    /// Nodes that continue the text up to `parent`; texts begin where that is `None`.
    fn children(&self, parent: Option<PageId>, namespace: u64) -> impl Iterator<Item = PageId> {
        let first = match parent {
            Some(parent) => self.node(parent).child,
            None => self.first,
        };
        std::iter::successors(first, |&page| self.node(page).sibling)
            .filter(move |&page| self.node(page).namespace == namespace)
    }

    /// The node behind `parent` whose key these tokens are.
    pub fn find(
        &self,
        parent: Option<PageId>,
        namespace: u64,
        tokens: &[TokenId],
    ) -> Option<PageId> {
        let mut children = self.children(parent, namespace);
        children.find(|&page| self.key(page) == tokens)
    }

    /// The node behind `parent` that begins like these tokens for longest, and how long that is.
    pub fn longest(
        &self,
        parent: Option<PageId>,
        namespace: u64,
        tokens: &[TokenId],
    ) -> Option<(PageId, usize)> {
        let children = self.children(parent, namespace);
        children
            .map(|page| (page, common(self.key(page), tokens)))
            .max_by_key(|&(_, len)| len)
    }

    /// Positions that a node holds.
    pub fn len(&self, page: PageId) -> usize {
        self.node(page).len
    }

    /// Whether a sequence runs on a node.
    pub fn in_use(&self, page: PageId) -> bool {
        self.node(page).users > 0
    }

    /// Nodes on which no sequence runs: all of them can be freed, the leaves first.
    pub fn unused(&self) -> usize {
        self.unused
    }

    /// Adds a page behind `parent`, on which nobody runs yet.
    pub fn insert(
        &mut self,
        parent: Option<PageId>,
        namespace: u64,
        page: PageId,
        tokens: &[TokenId],
    ) {
        self.tokens[page.0 as usize][..tokens.len()].copy_from_slice(tokens);
        let first = match parent {
            Some(parent) => &mut self.node_mut(parent).child,
            None => &mut self.first,
        };
        let sibling = first.replace(page);
        *self.node_mut(page) = Node {
            len: tokens.len(),
            namespace,
            parent,
            child: None,
            sibling,
            users: 0,
            used: self.clock,
            name: None,
        };
        self.unused += 1;
    }

    /// Takes out a leaf on which nobody runs.
    pub fn remove(&mut self, page: PageId) {
        let Node {
            parent, sibling, ..
        } = std::mem::take(self.node_mut(page));
        self.unused -= 1;
        let first = match parent {
            Some(parent) => self.node(parent).child,
            None => self.first,
        };
        let mut siblings = std::iter::successors(first, |&page| self.node(page).sibling);
        match siblings.find(|&before| self.node(before).sibling == Some(page)) {
            Some(before) => self.node_mut(before).sibling = sibling,
            None => match parent {
                Some(parent) => self.node_mut(parent).child = sibling,
                None => self.first = sibling,
            },
        }
    }

    /// Time goes on.
    pub fn tick(&mut self) {
        self.clock += 1;
    }

    /// A node is used, though no sequence runs on it.
    pub fn touch(&mut self, page: PageId) {
        self.node_mut(page).used = self.clock;
    }

    /// A sequence runs on a node.
    pub fn enter(&mut self, page: PageId) {
        let used = self.clock;
        let node = self.node_mut(page);
        node.users += 1;
        node.used = used;
        self.unused -= usize::from(self.node(page).users == 1);
    }

    /// A sequence does not run on a node any more.
    pub fn leave(&mut self, page: PageId) {
        let used = self.clock;
        let node = self.node_mut(page);
        node.users -= 1;
        node.used = used;
        self.unused += usize::from(self.node(page).users == 0);
    }

    /// Under which name a page is to go to disk; answers under which it was.
    pub fn mark(&mut self, page: PageId, name: Option<PageKey>) -> Option<PageKey> {
        std::mem::replace(&mut self.node_mut(page).name, name)
    }

    /// The leaf that was used longest ago, of those on which nobody runs; what is yet to go to disk comes
    /// last.
    pub fn oldest(&self) -> Option<PageId> {
        let pages = (0..self.nodes.len() as u32).map(PageId);
        let free_leaf = |page: &PageId| {
            let node = self.node(*page);
            node.len > 0 && node.child.is_none() && node.users == 0
        };
        pages.filter(free_leaf).min_by_key(|&p| {
            let node = self.node(p);
            (node.name.is_some(), node.used)
        })
    }

    /// For each page whether it is in the tree: 1 or 0.
    pub fn owners(&self) -> Vec<u32> {
        self.nodes.iter().map(|n| u32::from(n.len > 0)).collect()
    }

    /// Says what is wrong unless the tree is whole and so many sequences run on each node.
    pub fn check(&self, users: &[u32]) -> Result<(), String> {
        let in_tree = |&page: &PageId| self.node(page).len > 0;
        let pages = || (0..self.nodes.len() as u32).map(PageId).filter(in_tree);
        let mut reached = 0;
        for parent in pages().map(Some).chain([None]) {
            let first = parent.map_or(self.first, |parent| self.node(parent).child);
            let children = std::iter::successors(first, |&page| self.node(page).sibling);
            for page in children.take(self.nodes.len()) {
                reached += 1;
                let wrong = self.wrong(page, parent);
                wrong.map_or(Ok(()), |why| Err(format!("page {} {why}", page.0)))?;
            }
        }
        if reached != pages().count() {
            return Err(format!("{reached} pages of the tree can be reached"));
        }
        let mut counted = self.nodes.iter().zip(users);
        if let Some(page) = counted.position(|(node, &users)| node.users != users) {
            return Err(format!("page {page} has {} sequences", users[page]));
        }
        match pages().filter(|&p| !self.in_use(p)).count() == self.unused {
            true => Ok(()),
            false => Err(format!("{} pages are said to be unused", self.unused)),
        }
    }

    fn wrong(&self, page: PageId, parent: Option<PageId>) -> Option<&'static str> {
        let (node, above) = (self.node(page), parent.map(|parent| self.node(parent)));
        let mut beside = self.children(parent, node.namespace);
        let key = self.key(page);
        Some(match node.len {
            0 => "is in no tree and behind another one",
            _ if node.parent != parent => "is behind a page that it does not know",
            len if len < PAGE_LEN && (node.child.is_some() || node.users > 0) => {
                "is not full, and a text goes on behind it"
            }
            _ if above.is_some_and(|above| above.namespace != node.namespace) => {
                "is of another namespace than the text before it"
            }
            _ if above.is_some_and(|above| above.users < node.users) => {
                "has sequences that the text before it has not"
            }
            _ if beside.any(|p| p != page && self.key(p).starts_with(key)) => {
                "is the beginning of one beside it"
            }
            _ => return None,
        })
    }
}
