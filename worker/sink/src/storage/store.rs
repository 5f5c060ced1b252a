mod probe;
mod swap;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use tidemark_crds::StorageSink as Settings;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::{OpenContext, SinkError};
pub(super) use swap::{Seen, Swapped};

/// How long the storage sink waits for the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoragePatience {
    /// For the probe when the sink is opened.
    pub connect: Duration,
    /// For one object, with all tries; then the sink fails.
    pub object: Duration,
}

impl Default for StoragePatience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            object: Duration::from_secs(180),
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One request may take so long: a large file over a slow line.
const REQUEST: Duration = Duration::from_secs(120);

/// A bucket or folder with the prefix that the feed writes below.
#[derive(Debug)]
pub(super) struct Store {
    url: String,
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    patience: StoragePatience,
    /// Whether the server keeps the promise to create an object only where there is none.
    creates: bool,
    /// Whether it keeps the promise to replace an object only where it is still as we saw it.
    swaps: bool,
}

/// What became of the attempt to create an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Created {
    /// It is there, with our bytes.
    Ours,
    /// Something else is there.
    Taken,
}

impl Store {
    /// Connects and checks that objects can be written, by writing and deleting one.
    pub(super) async fn open(
        settings: &Settings,
        context: &OpenContext,
        patience: StoragePatience,
    ) -> Result<Self, SinkError> {
        let (objects, prefix) = connect(settings, context)?;
        let mut store = Self {
            url: settings.url.trim_end_matches('/').to_owned(),
            objects,
            prefix,
            patience,
            creates: true,
            swaps: true,
        };
        store.probe(context.epoch).await?;
        Ok(store)
    }

    /// The object with this path below the prefix.
    pub(super) fn path<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Path {
        parts
            .into_iter()
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Writes an object, over what is there.
    pub(super) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), SinkError> {
        self.retry(path, "write", || {
            let payload = PutPayload::from_bytes(bytes.clone());
            async move { self.objects.put(path, payload).await.map(drop) }
        })
        .await
    }

    /// Writes an object that must not be there yet.
    ///
    /// A try whose answer was lost may have written it: then it holds our bytes and counts as written. Where the server can't
    /// create conditionally, whether it is there is looked up before.
    pub(super) async fn create(&self, path: &Path, payload: &PutPayload) -> Result<Created, SinkError> {
        self.retry(path, "write", || async move {
            let mode = if self.creates {
                PutMode::Create
            } else {
                match self.compare(path, payload).await {
                    Err(Error::NotFound { .. }) => PutMode::Overwrite,
                    there => return there,
                }
            };
            let options = PutOptions::from(mode);
            match self.objects.put_opts(path, payload.clone(), options).await {
                Ok(_) => Ok(Created::Ours),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                    self.compare(path, payload).await
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn compare(&self, path: &Path, payload: &PutPayload) -> Result<Created, Error> {
        let there = self.objects.get(path).await?;
        if there.meta.size != payload.content_length() as u64 {
            return Ok(Created::Taken);
        }
        let there = there.bytes().await?;
        let mut rest = &there[..];
        let same = payload.iter().all(|part| {
            let (head, tail) = rest.split_at_checked(part.len()).unwrap_or_default();
            rest = tail;
            head == &part[..]
        });
        Ok(if same { Created::Ours } else { Created::Taken })
    }

    /// Whether an object is there.
    pub(super) async fn exists(&self, path: &Path) -> Result<bool, SinkError> {
        self.retry(path, "read", || async move {
            match self.objects.head(path).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// The names of the objects right below a folder.
    pub(super) async fn names(&self, folder: &Path) -> Result<Vec<String>, SinkError> {
        let found = self
            .retry(folder, "list", || async move {
                self.objects.list_with_delimiter(Some(folder)).await
            })
            .await?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        Ok(found
            .objects
            .iter()
            .filter_map(|object| name(&object.location))
            .collect())
    }

    async fn retry<T, F>(
        &self,
        path: &Path,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, SinkError>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let end = Instant::now() + self.patience.object;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let reason = match timeout(left, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => reasons(&error),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() + pause >= end {
                return Err(SinkError::Unavailable(format!(
                    "storage {}: can't {what} {path} within {:?}: {reason}",
                    self.url, self.patience.object
                )));
            }
            tracing::warn!(url = self.url, %path, reason, "storage: can't {what}, trying again");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn connect(settings: &Settings, context: &OpenContext) -> Result<(Arc<dyn ObjectStore>, Path), SinkError> {
    let wrong = |problem: &str| SinkError::Config(format!("sink.storage.url {:?}: {problem}", settings.url));
    let url = Url::parse(&settings.url)
        .map_err(|error| wrong(&format!("{error}; write s3://bucket/prefix or file:///folder")))?;
    match url.scheme() {
        "file" => {
            let folder = url
                .to_file_path()
                .map_err(|()| wrong("no folder of this machine; write file:///folder"))?;
            std::fs::create_dir_all(&folder).map_err(|error| {
                wrong(&format!(
                    "the folder can't be made: {error}; make it a folder that the worker may write to"
                ))
            })?;
            let files = LocalFileSystem::new_with_prefix(&folder)
                .map_err(|error| wrong(&reasons(&error)))?
                .with_fsync(true);
            Ok((Arc::new(files), Path::default()))
        }
        "s3" => {
            let bucket = url
                .host_str()
                .ok_or_else(|| wrong("no bucket; write s3://bucket/prefix"))?;
            let prefix = Path::from_url_path(url.path())
                .map_err(|error| wrong(&format!("the prefix can't be used: {error}")))?;
            let store = bucket_of(settings, context, bucket)?
                .build()
                .map_err(|error| wrong(&reasons(&error)))?;
            Ok((Arc::new(store), prefix))
        }
        other => Err(wrong(&format!(
            "{other}: is unknown; write s3://bucket/prefix or file:///folder"
        ))),
    }
}

fn bucket_of(settings: &Settings, context: &OpenContext, bucket: &str) -> Result<AmazonS3Builder, SinkError> {
    // With keys of its own, the environment's don't count: half of each would be a wrong login.
    let base = match settings.secret_name {
        Some(_) => AmazonS3Builder::new(),
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = base
        .with_bucket_name(bucket)
        .with_client_options(ClientOptions::new().with_timeout(REQUEST))
        .with_retry(RetryConfig {
            max_retries: 1,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        });
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder
            .with_allow_http(endpoint.starts_with("http://"))
            .with_endpoint(endpoint.trim_end_matches('/'));
    }
    if let Some(secret) = &settings.secret_name {
        let read = |key: &str| -> Result<Option<String>, SinkError> {
            let Some(bytes) = context.secrets.read(secret, key)? else {
                return Ok(None);
            };
            let text = String::from_utf8(bytes).map_err(|_| {
                SinkError::Config(format!(
                    "secret {secret}: {key} is no text; write the key as it is"
                ))
            })?;
            Ok(Some(text.trim().to_owned()))
        };
        let must = |key: &str| {
            read(key)?.ok_or_else(|| {
                SinkError::Config(format!(
                    "secret {secret} has no {key}; sink.storage.secretName needs access-key-id and secret-access-key"
                ))
            })
        };
        builder = builder
            .with_access_key_id(must("access-key-id")?)
            .with_secret_access_key(must("secret-access-key")?);
        if let Some(token) = read("session-token")? {
            builder = builder.with_token(token);
        }
    }
    Ok(builder)
}

/// An error with the reasons behind it, each told once.
fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut reason = error.source();
    while let Some(error) = reason {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        reason = error.source();
    }
    text
}
