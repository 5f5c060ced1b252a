//! The Secret by which workers of one feed know each other.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::identity::Identity;
use super::names;

/// The name in the certificate that all workers of a feed share.
pub const DNS_NAME: &str = "tidemark-peer";

/// A Secret with a new authority and one certificate of it, valid as server and as client.
///
/// The authority's own key is thrown away: nobody can ever make a second certificate.
pub fn peers_secret(identity: &Identity) -> Result<Secret, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    let subject = format!("tidemark {}/{}", identity.namespace, identity.name);
    authority.distinguished_name.push(DnType::CommonName, subject);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut peer = CertificateParams::new(vec![DNS_NAME.to_owned()])?;
    peer.distinguished_name.push(DnType::CommonName, DNS_NAME);
    peer.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    peer.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    peer.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = peer.signed_by(&key, &issuer)?;

    let data = [
        ("ca.crt", authority_certificate.pem()),
        ("tls.crt", certificate.pem()),
        ("tls.key", key.serialize_pem()),
    ];
    Ok(Secret {
        metadata: identity.meta(names::peers(&identity.name)),
        type_: Some("Opaque".into()),
        data: Some(
            data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        ),
        ..Secret::default()
    })
}
