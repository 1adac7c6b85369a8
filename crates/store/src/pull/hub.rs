//! What the hub says of a repository: its commit, its files, how long they are and what their bytes are.
//!
//! `GET /api/models/ORG/REPO/revision/main?blobs=true`, and where a mirror leaves sizes out,
//! `GET /api/models/ORG/REPO/tree/COMMIT?recursive=true`
//! (<https://huggingface.co/docs/hub/api>). Every name and digest in an answer is parsed before it is used.

use super::error::PullError;
use crate::names::{Commit, Digest, RepoFile, RepoId};
use crate::near::nearest;
use ingle_egress::{BlockingResponse, Cancel, Door, Follow, Purpose, Request, Token, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Longer than the list of any repository's files.
const MOST_BYTES: u64 = 32 << 20;
/// Larger than any file that git itself keeps on the hub.
pub(super) const MOST_GIT: u64 = 256 << 20;
/// Pages of a list that are read.
const MOST_PAGES: usize = 50;
/// Files of a repository that are looked at.
const MOST_FILES: usize = 100_000;
/// The branch that is taken.
const BRANCH: &str = "main";

/// A hub and who asks.
#[derive(Clone)]
pub struct Hub {
    /// The way out.
    pub door: Door,
    /// Where it is, as `https://huggingface.co`.
    pub endpoint: Url,
    /// Sent to the endpoint and nowhere else.
    pub token: Option<Token>,
    /// Ends every request.
    pub cancel: Cancel,
}

/// A commit of a repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its name as the hub writes it.
    pub repo: RepoId,
    /// The commit that `main` is.
    pub commit: Commit,
    /// Its files, those left out that have a name which no model file has.
    pub files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name.
    pub file: RepoFile,
    /// Its length in bytes.
    pub size: u64,
    /// How its bytes are checked, and the name of its blob.
    pub check: Check,
}

/// What the hub says of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Large files: the SHA-256 of the bytes.
    Sha256(Digest),
    /// Small files, which git itself keeps: the SHA-1 of a header and the bytes.
    Git(Commit),
}

impl Check {
    /// The name of the file's blob in the cache.
    pub fn blob_name(&self) -> String {
        match self {
            Self::Sha256(digest) => digest.hex(),
            Self::Git(oid) => oid.as_str().to_owned(),
        }
    }

    /// Git's name for it, where that is all the hub says.
    pub fn git(&self) -> Option<Commit> {
        match self {
            Self::Sha256(_) => None,
            Self::Git(oid) => Some(oid.clone()),
        }
    }

    /// The SHA-256, where the hub says it.
    pub fn sha256(&self) -> Option<Digest> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            Self::Git(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    id: String,
    sha: String,
    #[serde(default)]
    siblings: Vec<Entry>,
}

/// A file in either list.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "rfilename")]
    path: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default, alias = "blobId")]
    oid: Option<String>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: String,
    #[serde(default)]
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Hit {
    id: String,
}

impl Hub {
    /// Where the hub is, for messages.
    pub fn host(&self) -> String {
        self.endpoint.host_str().unwrap_or_default().to_owned()
    }

    /// The files of a repository at the newest commit of `main`.
    ///
    /// # Errors
    /// [`PullError`].
    pub fn repository(&self, repo: &RepoId) -> Result<Repository, PullError> {
        let mut url = self.url(&["api", "models"], repo, &["revision", BRANCH])?;
        url.set_query(Some("blobs=true"));
        let (info, _): (Info, _) = self.json(&url, repo)?;
        let commit = Commit::parse(&info.sha).map_err(|error| self.bad(error))?;
        let repo = RepoId::parse(&info.id)
            .ok()
            .filter(|said| said.is(repo))
            .unwrap_or_else(|| repo.clone());
        let known =
            |entry: &Entry| entry.size.is_some() && (entry.lfs.is_some() || entry.oid.is_some());
        let entries = if info.siblings.iter().all(known) {
            info.siblings
        } else {
            self.tree(&repo, &commit)?
        };
        let files = self.files(entries)?;
        Ok(Repository {
            repo,
            commit,
            files,
        })
    }

    fn tree(&self, repo: &RepoId, commit: &Commit) -> Result<Vec<Entry>, PullError> {
        let mut url = self.url(&["api", "models"], repo, &["tree", commit.as_str()])?;
        url.set_query(Some("recursive=true"));
        let mut entries = Vec::new();
        for _ in 0..MOST_PAGES {
            let (page, next): (Vec<Entry>, _) = self.json(&url, repo)?;
            entries.extend(page);
            match next {
                Some(next) if entries.len() <= MOST_FILES => url = next,
                _ => return Ok(entries),
            }
        }
        Err(self.bad("its list of files does not end"))
    }

    /// Checks every entry. A name that would lead out of its folder is no slip: nothing is taken from
    /// such a list. Other names that no model file has are left out.
    fn files(&self, entries: Vec<Entry>) -> Result<Vec<RemoteFile>, PullError> {
        let mut files = Vec::new();
        for entry in entries.into_iter().take(MOST_FILES) {
            if entry.kind.as_deref().is_some_and(|kind| kind != "file") {
                continue;
            }
            let file = match RepoFile::parse(&entry.path) {
                Ok(file) => file,
                Err(error) if error.walks_out() => {
                    return Err(PullError::HostileName {
                        host: self.host(),
                        error,
                    });
                }
                Err(_) => continue,
            };
            if let Some((size, check)) = self.check(&entry)? {
                files.push(RemoteFile { file, size, check });
            }
        }
        Ok(files)
    }

    /// Length and digest; `None` where the hub says too little of a file to fetch it.
    fn check(&self, entry: &Entry) -> Result<Option<(u64, Check)>, PullError> {
        if let Some(lfs) = &entry.lfs {
            let digest = Digest::parse(&lfs.sha256).or_else(|_| Digest::from_hex(&lfs.sha256));
            let digest = digest.map_err(|error| self.bad(error))?;
            return match (lfs.size, entry.size) {
                (Some(a), Some(b)) if a != b => Err(self.bad(format!(
                    "it says that {} has {a} and {b} bytes",
                    entry.path.escape_debug()
                ))),
                (Some(size), _) | (None, Some(size)) => Ok(Some((size, Check::Sha256(digest)))),
                (None, None) => Ok(None),
            };
        }
        let Some((size, oid)) = entry.size.zip(entry.oid.as_deref()) else {
            return Ok(None);
        };
        if size > MOST_GIT {
            let file = entry.path.escape_debug();
            return Err(self.bad(format!(
                "it names no SHA-256 of {file}, which has {size} bytes"
            )));
        }
        let oid = Commit::parse(oid).map_err(|error| self.bad(error))?;
        Ok(Some((size, Check::Git(oid))))
    }

    /// Where a file's bytes are.
    ///
    /// # Errors
    /// [`PullError`]: the endpoint is no base of other URLs.
    pub fn file_url(&self, repository: &Repository, file: &RepoFile) -> Result<Url, PullError> {
        let mut rest = vec!["resolve", repository.commit.as_str()];
        rest.extend(file.as_str().split('/'));
        self.url(&[], &repository.repo, &rest)
    }

    /// Repositories with a name like this one.
    pub fn near(&self, repo: &RepoId) -> Vec<String> {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "models"]);
        }
        url.query_pairs_mut()
            .append_pair("search", repo.name())
            .append_pair("limit", "20");
        let found: Result<(Vec<Hit>, _), _> = self.json(&url, repo);
        let ids: Vec<String> = found
            .map(|(hits, _)| hits.into_iter().map(|hit| hit.id).collect())
            .unwrap_or_default();
        let known = ids
            .iter()
            .filter(|id| RepoId::parse(id).is_ok())
            .map(String::as_str);
        nearest(&repo.to_string(), known)
    }

    fn url(&self, before: &[&str], repo: &RepoId, behind: &[&str]) -> Result<Url, PullError> {
        let mut url = self.endpoint.clone();
        {
            let Ok(mut path) = url.path_segments_mut() else {
                return Err(self.bad("it is no base of other URLs"));
            };
            path.pop_if_empty().extend(before);
            path.extend(repo.org()).push(repo.name()).extend(behind);
        }
        Ok(url)
    }

    /// One request; its JSON, and the URL of the next page.
    fn json<T: DeserializeOwned>(
        &self,
        url: &Url,
        repo: &RepoId,
    ) -> Result<(T, Option<Url>), PullError> {
        let permit = self.door.permit(Purpose::Pull, url)?;
        let request = Request::get(permit)
            .header("accept", "application/json")?
            .token(self.token.as_ref())
            .follow(Follow::SameOrigin)
            .cancel(&self.cancel);
        let mut response = self.door.send_blocking(request)?;
        match response.head().status() {
            200 => {}
            status => return Err(self.refused(status, repo, &response)),
        }
        let next = response
            .head()
            .header("link")
            .and_then(|link| next_page(url, link));
        let bytes = response.bytes(MOST_BYTES)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| self.bad(error))?;
        Ok((value, next))
    }

    fn refused(&self, status: u16, repo: &RepoId, response: &BlockingResponse) -> PullError {
        let head = response.head();
        let code = head.header("x-error-code").unwrap_or_default();
        let (host, repo) = (self.host(), repo.to_string());
        let token_sent = head.token_sent();
        // The hub does not tell everybody whether a repository exists.
        let hidden = code == "RepoNotFound" || (code.is_empty() && !token_sent);
        match status {
            404 => PullError::NoRepository {
                host,
                repo,
                near: Vec::new(),
            },
            401 if hidden => PullError::NoRepositoryOrNoToken {
                host,
                repo,
                near: Vec::new(),
            },
            401 | 403 => PullError::Gated {
                page: format!("{}/{repo}", self.endpoint.as_str().trim_end_matches('/')),
                host,
                repo,
                token_sent,
            },
            _ => PullError::Status { host, status },
        }
    }

    pub(super) fn bad(&self, why: impl ToString) -> PullError {
        PullError::BadAnswer {
            host: self.host(),
            why: why.to_string(),
        }
    }
}

/// The URL with `rel="next"` in a `Link` header (RFC 8288), where it leads to the same origin.
fn next_page(here: &Url, link: &str) -> Option<Url> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (_, rest) = next.split_once('<')?;
    let (target, _) = rest.split_once('>')?;
    let url = here.join(target).ok()?;
    (url.origin() == here.origin()).then_some(url)
}
