//! Where this machine gets its Debian packages from, read out of its own apt sources.
//!
//! Both formats of sources.list(5) are read, one-line (`*.list`) and deb822 (`*.sources`), as far
//! as needed to find a Debian archive and how it is trusted. Pure: text in, [`Mirror`] out.

/// The archive that every Debian machine can use when its own sources name none.
const CANONICAL: &str = "http://deb.debian.org/debian";

/// The options that say how a source is trusted. They go with its address; everything else
/// (suites, architectures, index targets) is chosen for our own purpose.
const TRUST: [&str; 4] = ["Signed-By", "Trusted", "Check-Valid-Until", "Check-Date"];

/// A Debian archive and the options by which the machine trusts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    /// The address of the archive.
    pub(super) uri: String,
    /// Options of [`TRUST`] with their values; a value may span lines (an embedded key).
    pub(super) trust: Vec<(&'static str, String)>,
}

impl Mirror {
    /// The archive to use when the machine's own sources name none.
    pub(super) fn canonical() -> Mirror {
        Mirror { uri: CANONICAL.to_owned(), trust: Vec::new() }
    }

    /// The same archive, signed by `keyring` unless its source says how it is signed.
    pub(super) fn signed_by_default(mut self, keyring: Option<&str>) -> Mirror {
        let signed = self.trust.iter().any(|(name, _)| *name == "Signed-By");
        if let (false, Some(keyring)) = (signed, keyring) {
            self.trust.push(("Signed-By", keyring.to_owned()));
        }
        self
    }

    /// A deb822 source that takes the package index of `suite`, component main, and nothing else.
    pub(super) fn source(&self, suite: &str, architecture: &str) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n\
             Architectures: {architecture}\nTargets: Packages\nLanguages: none\nPDiffs: no\n",
            self.uri
        );
        for (name, value) in &self.trust {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text
    }
}

/// Whether `uri` is a Debian archive: its path ends in `/debian`. That leaves out the security
/// archive, which has no sid, and vendors' archives.
fn is_debian_archive(uri: &str) -> bool {
    uri.contains(":/") && uri.trim_end_matches('/').ends_with("/debian")
}

fn trust_option(name: &str) -> Option<&'static str> {
    TRUST.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// The first Debian archive in the text of a one-line sources file.
pub(super) fn in_list(text: &str) -> Option<Mirror> {
    text.lines().find_map(in_line)
}

/// `deb [ option=value … ] uri suite component …`
fn in_line(line: &str) -> Option<Mirror> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    let rest = rest.starts_with([' ', '\t', '[']).then(|| rest.trim_start())?;
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let uri = rest.split_whitespace().next().filter(|uri| is_debian_archive(uri))?;
    let trust = options
        .split_whitespace()
        .filter_map(|option| option.split_once('='))
        .filter_map(|(name, value)| Some((trust_option(name)?, value.replace(',', " "))))
        .collect();
    Some(Mirror { uri: uri.to_owned(), trust })
}

/// The first Debian archive in the text of a deb822 sources file.
pub(super) fn in_deb822(text: &str) -> Option<Mirror> {
    let uncommented: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    uncommented.split(|line| line.trim().is_empty()).find_map(in_stanza)
}

fn in_stanza(lines: &[&str]) -> Option<Mirror> {
    let fields = fields(lines);
    let field = |wanted: &str| {
        let named = |(name, _): &&(&str, String)| name.eq_ignore_ascii_case(wanted);
        fields.iter().find(named).map(|(_, value)| value.as_str())
    };
    let disabled = field("Enabled").is_some_and(|value| {
        ["no", "false", "without", "off", "disable"].contains(&value.to_ascii_lowercase().as_str())
    });
    let binary = field("Types")?.split_whitespace().any(|kind| kind == "deb");
    if disabled || !binary {
        return None;
    }
    let uri = field("URIs")?.split_whitespace().find(|uri| is_debian_archive(uri))?;
    let trust = fields
        .iter()
        .filter_map(|(name, value)| Some((trust_option(name)?, value.clone())))
        .collect();
    Some(Mirror { uri: uri.to_owned(), trust })
}

/// The fields of a stanza. A line that begins with a space continues the field before it, and keeps
/// its indentation, so that the value can be written out again as it stood.
fn fields<'a>(lines: &[&'a str]) -> Vec<(&'a str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim_end());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim(), value.trim().to_owned()));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(uri: &str, trust: &[(&'static str, &str)]) -> Mirror {
        let trust = trust.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Mirror { uri: uri.to_owned(), trust }
    }

    #[test]
    fn a_one_line_source_gives_its_address_and_its_key() {
        let text = "# the archive\n\
            deb-src http://ftp.example.org/debian bookworm main\n\
            deb [arch=amd64 signed-by=/keys/a.gpg,/keys/b.gpg] http://ftp.example.org/debian/ \
            bookworm main # ours\n";
        let expected =
            mirror("http://ftp.example.org/debian/", &[("Signed-By", "/keys/a.gpg /keys/b.gpg")]);
        assert_eq!(in_list(text), Some(expected));
        let bare = in_list("deb http://ftp.example.org/debian sid main");
        assert_eq!(bare, Some(mirror("http://ftp.example.org/debian", &[])));
    }

    #[test]
    fn security_vendors_snapshots_and_other_distributions_are_no_debian_archive() {
        for line in [
            "deb http://deb.example.org/debian-security bookworm-security main",
            "deb https://packages.example.com/apt cloud-sdk main",
            "deb http://snapshot.example.org/archive/debian/20250520T000000Z bookworm main",
            "deb http://archive.example.com/ubuntu noble main",
            "debug http://ftp.example.org/debian bookworm main",
            "deb [arch=amd64 http://ftp.example.org/debian bookworm main",
        ] {
            assert_eq!(in_list(line), None, "{line}");
        }
    }

    #[test]
    fn a_deb822_source_is_found_behind_comments_other_stanzas_and_disabled_ones() {
        let text = "Types: deb\nURIs: https://packages.example.com/apt\nSuites: x\n\n\
            Enabled: no\nTypes: deb\nURIs: http://old.example.org/debian\nSuites: bookworm\n\n\
            Types: deb-src\nURIs: http://src.example.org/debian\nSuites: bookworm\n\n\
            types: deb deb-src\n\
            # http://snapshot.example.org/archive/debian/20250520T000000Z\n\
            URIs:\n http://deb.example.org/debian-security\n http://deb.example.org/debian\n\
            Suites: bookworm\nCheck-Valid-Until: no\nsigned-by: /keys/debian.gpg\n";
        let expected = mirror(
            "http://deb.example.org/debian",
            &[("Check-Valid-Until", "no"), ("Signed-By", "/keys/debian.gpg")],
        );
        assert_eq!(in_deb822(text), Some(expected));
    }

    #[test]
    fn an_embedded_key_survives_being_read_and_written_again() {
        let key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBGPL0BUBEADm\n \
            -----END PGP PUBLIC KEY BLOCK-----";
        let text = format!("Types: deb\nURIs: http://deb.example.org/debian\n{key}\n");
        let found = in_deb822(&text).unwrap().signed_by_default(Some("/keys/other.gpg"));
        let written = found.source("sid", "amd64");
        assert!(written.contains("\nSigned-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n"));
        assert!(!written.contains("/keys/other.gpg"));
        assert_eq!(in_deb822(&written), Some(found));
    }

    #[test]
    fn a_source_without_a_key_gets_the_archive_keyring() {
        let found = in_list("deb http://ftp.example.org/debian sid main").unwrap();
        let source = found.signed_by_default(Some("/keys/debian.gpg")).source("sid", "arm64");
        assert!(source.contains("\nSigned-By: /keys/debian.gpg\n"));
        assert!(source.contains("\nArchitectures: arm64\n"));
    }
}
