//! Names and seals of pages.

use super::secret::PageSecret;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use ingle_tensor::pages::PageKey;
use sha2::{Digest, Sha256};

/// What a file begins with: the version of the format.
const MAGIC: [u8; 8] = *b"INGLEKV1";
const NONCE: usize = 24;
/// Bytes before the page.
pub(super) const HEAD: usize = MAGIC.len() + NONCE;
/// Bytes behind it.
pub(super) const TAIL: usize = 16;

/// A name that tells nothing to those who do not have the secret.
pub(super) type Name = [u8; 16];

/// The keys of a tenant.
pub(super) struct Keys {
    cipher: XChaCha20Poly1305,
    naming: [u8; 32],
    /// Its folder.
    pub tenant: Name,
    namespace: u64,
}

fn derive<const N: usize>(secret: &PageSecret, what: &str, namespace: u64) -> [u8; N] {
    let mut key = [0; N];
    let info = [
        b"ingle pages 1 ".as_slice(),
        what.as_bytes(),
        &namespace.to_le_bytes(),
    ];
    let wide = Hkdf::<Sha256>::new(None, &secret.0).expand_multi_info(&info, &mut key);
    debug_assert!(wide.is_ok(), "an output of a few bytes is never too long");
    key
}

/// The folder of a model.
pub(super) fn model_name(secret: &PageSecret, identity: &[u8; 32]) -> Name {
    let key: [u8; 32] = derive(secret, "model", 0);
    name_of(&key, identity, &[])
}

/// The folder of a tenant.
pub(super) fn tenant_name(secret: &PageSecret, namespace: u64) -> Name {
    derive(secret, "tenant", namespace)
}

/// A keyed hash: the key is 32 random bytes and what follows has one length, so that nothing can be
/// appended to it.
fn name_of(key: &[u8; 32], what: &[u8; 32], more: &[u8]) -> Name {
    let digest = Sha256::new()
        .chain_update(key)
        .chain_update(what)
        .chain_update(more)
        .finalize();
    let mut name = [0; 16];
    name.iter_mut()
        .zip(&digest)
        .for_each(|(to, from)| *to = *from);
    name
}

impl Keys {
    pub fn new(secret: &PageSecret, namespace: u64) -> Self {
        let key: [u8; 32] = derive(secret, "seal", namespace);
        Self {
            cipher: XChaCha20Poly1305::new(&key.into()),
            naming: derive(secret, "name", namespace),
            tenant: tenant_name(secret, namespace),
            namespace,
        }
    }

    /// The file of a page.
    pub fn name(&self, page: &PageKey, identity: &[u8; 32]) -> Name {
        name_of(&self.naming, &page.digest, identity)
    }

    /// All that a page is bound to.
    fn bound(&self, page: &PageKey, identity: &[u8; 32]) -> Vec<u8> {
        let mut bound = MAGIC.to_vec();
        bound.extend(identity);
        bound.extend(self.namespace.to_le_bytes());
        bound.extend(page.index.to_le_bytes());
        bound.extend(page.digest);
        bound
    }

    /// Seals a page in place, and gives what stands before and behind it. `nonce` is random.
    pub fn seal(
        &self,
        page: &PageKey,
        identity: &[u8; 32],
        nonce: [u8; NONCE],
        bytes: &mut [u8],
    ) -> Option<([u8; HEAD], [u8; TAIL])> {
        let bound = self.bound(page, identity);
        let nonce_of = XNonce::from(nonce);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce_of, &bound, bytes.into())
            .ok()?;
        let mut head = [0; HEAD];
        let start = MAGIC.iter().chain(&nonce);
        head.iter_mut()
            .zip(start)
            .for_each(|(to, from)| *to = *from);
        Some((head, tag.into()))
    }

    /// Opens a page in place; false where it is not what was sealed, and the bytes then mean nothing.
    pub fn open(
        &self,
        page: &PageKey,
        identity: &[u8; 32],
        head: &[u8; HEAD],
        tail: &[u8; TAIL],
        bytes: &mut [u8],
    ) -> bool {
        let Some(nonce) = head.strip_prefix(&MAGIC) else {
            return false;
        };
        let Ok(nonce) = <[u8; NONCE]>::try_from(nonce) else {
            return false;
        };
        let bound = self.bound(page, identity);
        let tag = Tag::from(*tail);
        self.cipher
            .decrypt_inout_detached(&XNonce::from(nonce), &bound, bytes.into(), &tag)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(namespace: u64, index: u32, digest: u8) -> PageKey {
        PageKey {
            namespace,
            index,
            digest: [digest; 32],
        }
    }

    #[test]
    fn a_seal_holds_for_one_tenant_model_text_and_place() {
        let secret = PageSecret([9; 32]);
        let keys = Keys::new(&secret, 3);
        let model = [1; 32];
        let text: Vec<u8> = (0..1000).map(|i| (i % 251) as u8).collect();
        let mut sealed = text.clone();
        let (head, tail) = keys
            .seal(&page(3, 2, 7), &model, [5; 24], &mut sealed)
            .unwrap();
        assert_ne!(sealed, text);
        let opens = |keys: &Keys,
                     page: &PageKey,
                     model: [u8; 32],
                     head: &[u8; HEAD],
                     tail: &[u8; TAIL],
                     sealed: &[u8]| {
            let mut bytes = sealed.to_vec();
            keys.open(page, &model, head, tail, &mut bytes) && bytes == text
        };
        assert!(opens(&keys, &page(3, 2, 7), model, &head, &tail, &sealed));
        let others = [page(3, 1, 7), page(3, 2, 8)];
        for other in &others {
            assert!(!opens(&keys, other, model, &head, &tail, &sealed));
        }
        assert!(!opens(
            &keys,
            &page(3, 2, 7),
            [2; 32],
            &head,
            &tail,
            &sealed
        ));
        let strangers = [Keys::new(&secret, 4), Keys::new(&PageSecret([8; 32]), 3)];
        for stranger in &strangers {
            let page = page(3, 2, 7);
            assert!(!opens(stranger, &page, model, &head, &tail, &sealed));
            assert_ne!(stranger.name(&page, &model), keys.name(&page, &model));
            assert_ne!(stranger.tenant, keys.tenant);
        }
        for at in [0, 10] {
            let mut torn = head;
            torn[at] ^= 1;
            assert!(!opens(&keys, &page(3, 2, 7), model, &torn, &tail, &sealed));
        }
        let mut changed = sealed.clone();
        changed[999] ^= 128;
        assert!(!opens(&keys, &page(3, 2, 7), model, &head, &tail, &changed));
        assert!(!opens(
            &keys,
            &page(3, 2, 7),
            model,
            &head,
            &[0; 16],
            &sealed
        ));
        assert_ne!(model_name(&secret, &[1; 32]), model_name(&secret, &[2; 32]));
        assert_ne!(
            keys.name(&page(3, 2, 7), &[1; 32]),
            keys.name(&page(3, 2, 7), &[2; 32])
        );
    }
}
