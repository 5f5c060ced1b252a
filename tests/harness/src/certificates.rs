use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A certificate authority with one server and one client certificate, made with the `openssl` command.
///
/// The server's is for `localhost` and 127.0.0.1, the client's subject is `CN=tidemark`. All are PEM files, keys in PKCS#8.
#[derive(Clone, Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Makes them in a folder.
    pub fn make(dir: &Path) -> Result<Self> {
        let made = Self { dir: dir.into() };
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ];
        openssl(
            dir,
            &[
                &["req", "-x509", "-days", "30", "-subj", "/CN=tidemark test CA"][..],
                &key,
                &["-keyout", "ca.key", "-out", "ca.crt"],
            ]
            .concat(),
        )?;
        for (name, subject, extensions) in [
            (
                "server",
                "/CN=localhost",
                "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
            ),
            ("client", "/CN=tidemark", "extendedKeyUsage=clientAuth\n"),
        ] {
            let file = |suffix: &str| format!("{name}.{suffix}");
            std::fs::write(dir.join(file("ext")), extensions)?;
            let (csr, ext, crt, private) = (file("csr"), file("ext"), file("crt"), file("key"));
            openssl(
                dir,
                &[
                    &["req", "-new", "-subj", subject][..],
                    &key,
                    &["-keyout", &private, "-out", &csr],
                ]
                .concat(),
            )?;
            openssl(
                dir,
                &[
                    "x509",
                    "-req",
                    "-days",
                    "30",
                    "-in",
                    &csr,
                    "-CA",
                    "ca.crt",
                    "-CAkey",
                    "ca.key",
                    "-CAcreateserial",
                    "-extfile",
                    &ext,
                    "-out",
                    &crt,
                ],
            )?;
        }
        Ok(made)
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The server's certificate.
    pub fn server(&self) -> PathBuf {
        self.dir.join("server.crt")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    /// The client's certificate.
    pub fn client(&self) -> PathBuf {
        self.dir.join("client.crt")
    }

    /// The client's key.
    pub fn client_key(&self) -> PathBuf {
        self.dir.join("client.key")
    }
}

fn openssl(dir: &Path, args: &[&str]) -> Result<()> {
    let out = Command::new("openssl")
        .args(args)
        .current_dir(dir)
        .output()
        .context("run openssl (Debian package openssl)")?;
    if !out.status.success() {
        bail!(
            "openssl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}
