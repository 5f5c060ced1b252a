//! Which Secrets a spec needs, and what is missing in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tidemark_crds::ChangefeedSpec;

/// A Secret that a spec names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The field that names it.
    pub field: &'static str,
    /// The Secret.
    pub secret: String,
    /// Keys that it must have.
    pub keys: &'static [&'static str],
    /// Keys that it must have together or not at all.
    pub pair: Option<(&'static str, &'static str)>,
}

/// The keys of each Secret that exists.
pub(crate) type Found = BTreeMap<String, BTreeSet<String>>;

/// Something that a Secret lacks, with the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    field: &'static str,
    secret: String,
    what: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: secret {:?} {}", self.field, self.secret, self.what)
    }
}

/// All references of a spec.
pub(crate) fn references(spec: &ChangefeedSpec) -> Vec<Reference> {
    const CLIENT: Option<(&str, &str)> = Some(("tls.crt", "tls.key"));
    let mut all = Vec::new();
    let mut add = |field, secret: Option<&String>, keys, pair| {
        if let Some(secret) = secret {
            all.push(Reference {
                field,
                secret: secret.clone(),
                keys,
                pair,
            });
        }
    };
    let tls = spec.source.tls.as_ref();
    add(
        "spec.source.tls.secretName",
        tls.and_then(|tls| tls.secret_name.as_ref()),
        &["ca.crt"],
        CLIENT,
    );
    if let Some(kafka) = &spec.sink.kafka {
        let tls = kafka.tls.as_ref().and_then(|tls| tls.secret_name.as_ref());
        add("spec.sink.kafka.tls.secretName", tls, &[], CLIENT);
        let sasl = kafka.sasl.as_ref().map(|sasl| &sasl.secret_name);
        add(
            "spec.sink.kafka.sasl.secretName",
            sasl,
            &["username", "password"],
            None,
        );
    }
    if let Some(storage) = &spec.sink.storage {
        add(
            "spec.sink.storage.secretName",
            storage.secret_name.as_ref(),
            &["access-key-id", "secret-access-key"],
            None,
        );
    }
    all
}

/// The names of all Secrets that a spec needs, each once, in order.
pub(crate) fn names(spec: &ChangefeedSpec) -> BTreeSet<String> {
    references(spec)
        .into_iter()
        .map(|reference| reference.secret)
        .collect()
}

/// What is missing for a spec.
pub(crate) fn missing(spec: &ChangefeedSpec, found: &Found) -> Vec<Missing> {
    let mut all = Vec::new();
    for Reference {
        field,
        secret,
        keys,
        pair,
    } in references(spec)
    {
        let mut lacks = |what: String| {
            all.push(Missing {
                field,
                secret: secret.clone(),
                what,
            });
        };
        let Some(there) = found.get(&secret) else {
            lacks("doesn't exist in this namespace: create it".into());
            continue;
        };
        for key in keys.iter().filter(|key| !there.contains(**key)) {
            lacks(format!("has no key {key}: add it"));
        }
        if let Some((one, other)) = pair
            && there.contains(one) != there.contains(other)
        {
            let (has, lack) = if there.contains(one) {
                (one, other)
            } else {
                (other, one)
            };
            lacks(format!(
                "has {has} but no {lack}: a client certificate needs both"
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use tidemark_crds::{Sasl, SaslMechanism, Tls};

    use super::*;
    use crate::fixture::feed;

    fn spec() -> ChangefeedSpec {
        let mut spec = feed("shop").spec;
        let kafka = spec.sink.kafka.as_mut().unwrap();
        kafka.sasl = Some(Sasl {
            mechanism: SaslMechanism::Plain,
            secret_name: "login".into(),
        });
        kafka.tls = Some(Tls {
            secret_name: Some("broker".into()),
        });
        spec
    }

    fn found(secrets: &[(&str, &[&str])]) -> Found {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        secrets
            .iter()
            .map(|(name, all)| ((*name).to_owned(), keys(all)))
            .collect()
    }

    fn told(spec: &ChangefeedSpec, there: &Found) -> Vec<String> {
        missing(spec, there).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_feed_without_references_needs_nothing() {
        assert!(missing(&feed("shop").spec, &Found::new()).is_empty());
    }

    #[test]
    fn each_missing_thing_is_told_with_field_and_mend() {
        assert_eq!(
            told(&spec(), &found(&[("login", &["username"])])),
            [
                "spec.sink.kafka.tls.secretName: secret \"broker\" doesn't exist in this namespace: create it",
                "spec.sink.kafka.sasl.secretName: secret \"login\" has no key password: add it",
            ]
        );
        let half = found(&[("login", &["username", "password"]), ("broker", &["tls.key"])]);
        assert_eq!(
            told(&spec(), &half),
            [
                "spec.sink.kafka.tls.secretName: secret \"broker\" has tls.key but no tls.crt: a client certificate needs both"
            ]
        );
        let whole = found(&[("login", &["username", "password"]), ("broker", &[])]);
        assert!(missing(&spec(), &whole).is_empty());
    }
}
