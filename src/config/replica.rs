//! A replica beside the server: where it is, with the account of the server unless it has one of its own.

use super::resolve::endpoint;
use super::settings::Password;
use super::{Connection, PtDsn, dsn};
use crate::error::{Error, Result};

impl Connection {
    /// The connection to a replica of this server, by its DSN in either form.
    ///
    /// # Errors
    /// Refused when the DSN is wrong, or does not say where the replica is.
    pub fn to_replica(&self, text: &str) -> Result<Connection> {
        let settings = match PtDsn::is_one(text) {
            true => PtDsn::parse(text)?.settings,
            false => dsn::parse(text)?,
        };
        if settings.host.is_none() && settings.socket.is_none() && settings.port.is_none() {
            return Err(Error::refused("--replica does not say where the replica is")
                .remedy("Give it as mysql://host:port or h=host,P=port."));
        }
        let (user, own) = match &settings.user {
            Some(user) => (user.value.clone(), None),
            None => (self.user.clone(), self.password.clone()),
        };
        let password = match &settings.password {
            Some(given) => match &given.value {
                Password::Value(secret) => Some(secret.clone()),
                Password::Ask => self.password.clone(),
            },
            // Most often the account is the same on all servers.
            None if user == self.user => self.password.clone(),
            None => own,
        };
        let endpoint = endpoint(&[settings])?;
        Ok(Connection { endpoint, user, password, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Connection, Endpoint, Secret, Tls};

    fn server() -> Connection {
        Connection {
            endpoint: Endpoint::Tcp { host: "db1".to_owned(), port: 3306 },
            user: "ann".to_owned(),
            password: Some(Secret::new("hunter2")),
            database: None,
            tls: Tls::default(),
        }
    }

    #[test]
    fn a_replica_has_the_account_of_the_server_unless_it_names_one() {
        let same = server().to_replica("mysql://db2:3307").expect("right");
        assert_eq!(same.endpoint, Endpoint::Tcp { host: "db2".to_owned(), port: 3307 });
        assert_eq!((same.user, same.password), ("ann".to_owned(), server().password));
        let other = server().to_replica("h=db2,u=bob,p=secret").expect("right");
        assert_eq!(other.user, "bob");
        assert_eq!(other.password, Some(Secret::new("secret")));
        let without = server().to_replica("mysql://bob@db2").expect("right");
        assert_eq!(without.password, None, "another account does not get this one's password");
    }

    #[test]
    fn a_replica_has_to_be_somewhere() {
        for text in ["u=bob", "mysql://"] {
            let error = server().to_replica(text).expect_err(text).to_string();
            assert!(!error.is_empty(), "{text}");
        }
    }
}
