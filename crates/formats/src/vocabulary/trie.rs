//! A trie over bytes, for the tokens that a text may begin with.

use crate::TokenId;

/// One node; its children lie together, sorted by their byte.
#[derive(Debug, Clone, Copy)]
struct Node {
    byte: u8,
    token: Option<TokenId>,
    first_child: u32,
    children: u16,
}

/// All prefixes of a set of texts.
#[derive(Debug, Clone)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

impl Trie {
    /// A trie of these texts; of two equal ones the later counts.
    pub(super) fn new(mut texts: Vec<(&[u8], TokenId)>) -> Self {
        texts.sort_by(|a, b| a.0.cmp(b.0));
        let root = Node {
            byte: 0,
            token: None,
            first_child: 0,
            children: 0,
        };
        let mut nodes = vec![root];
        // Each level's nodes, in order, with the texts (a range of `texts`) that pass through them.
        let mut level = vec![(0_usize, 0..texts.len())];
        let mut depth = 0;
        while !level.is_empty() {
            let mut below = Vec::new();
            for (node, range) in level {
                let first_child = nodes.len();
                let mut at = range.start;
                while at < range.end {
                    let Some((text, token)) = texts.get(at) else {
                        break;
                    };
                    let Some(&byte) = text.get(depth) else {
                        // Texts that end here come first.
                        if let Some(node) = nodes.get_mut(node) {
                            node.token = Some(*token);
                        }
                        at += 1;
                        continue;
                    };
                    let same = texts.get(at..range.end).unwrap_or_default();
                    let len = same.partition_point(|(t, _)| t.get(depth) == Some(&byte));
                    below.push((nodes.len(), at..at + len));
                    nodes.push(Node { byte, ..root });
                    at += len;
                }
                let children = nodes.len() - first_child;
                if let Some(node) = nodes.get_mut(node) {
                    node.first_child = u32::try_from(first_child).unwrap_or(u32::MAX);
                    node.children = u16::try_from(children).unwrap_or(u16::MAX);
                }
            }
            level = below;
            depth += 1;
        }
        nodes.shrink_to_fit();
        Self { nodes }
    }

    /// Every token that `text` begins with, and its bytes, the shortest first.
    pub(super) fn prefixes<'a>(
        &'a self,
        text: &'a [u8],
    ) -> impl Iterator<Item = (TokenId, usize)> + 'a {
        let mut node = self.nodes.first();
        let steps = text.iter().map_while(move |&byte| {
            node = node.and_then(|node| self.child(node, byte));
            node
        });
        (1..)
            .zip(steps)
            .filter_map(|(len, node)| Some((node.token?, len)))
    }

    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let first = usize::try_from(node.first_child).ok()?;
        let children = self
            .nodes
            .get(first..first.checked_add(usize::from(node.children))?)?;
        let index = children
            .binary_search_by_key(&byte, |child| child.byte)
            .ok()?;
        children.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_prefix_and_nothing_else() {
        let texts = ["a", "ab", "abcd", "b", "é"];
        let trie = Trie::new(
            texts
                .iter()
                .zip(0..)
                .map(|(t, i)| (t.as_bytes(), TokenId(i)))
                .collect(),
        );
        let found = |text: &str| -> Vec<_> {
            trie.prefixes(text.as_bytes())
                .map(|(id, len)| (id.0, len))
                .collect()
        };
        assert_eq!(found("abcde"), [(0, 1), (1, 2), (2, 4)]);
        assert_eq!(found("é"), [(4, 2)]);
        assert_eq!(found("xa"), []);
        assert_eq!(found(""), []);
    }
}
