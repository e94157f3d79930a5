//! `start`: the same command on every server. The configuration says which of them is what.

use super::{master, worker};
use crate::app::App;
use crate::args::{Common, Master, Place, Start as Args, Worker};
use crate::config::{Config, Server, ServerRole};
use crate::context::{Context, Flags, host_name};
use crate::exit_code::Failure;

pub(crate) fn start(app: &App, common: &Common, args: &Args) -> Result<u8, Failure> {
    let context = Context::new(app, common, Flags::default())?;
    let (name, server) = find(&context.config, args.name.as_deref(), &host_name())?;
    let (name, place) = (Some(name.to_owned()), Place { ..args.place.clone() });
    match server.role {
        ServerRole::Master => master::master(app, common, &Master { name, place, ..Master::default() }),
        ServerRole::Worker if context.config.master_server().is_none() => Err(Failure::usage(
            "[servers] has no master, so that a worker cannot find it: add NAME = { role = \"master\", listen = \"HOST:PORT\" }",
        )),
        ServerRole::Worker => worker::worker(app, common, &Worker { name, place, ..Worker::default() }),
    }
}

/// The entry of this server: the one named, else that of the host, by its full name or the part before the first dot.
fn find<'a>(config: &'a Config, named: Option<&str>, host: &str) -> Result<(&'a str, &'a Server), Failure> {
    let short = host.split('.').next().unwrap_or(host);
    let candidates = match named {
        Some(name) => vec![name],
        None => vec![host, short],
    };
    let entry = candidates.iter().find_map(|name| config.servers.get_key_value(*name));
    entry.map(|(name, server)| (name.as_str(), server)).ok_or_else(|| {
        let known: Vec<String> =
            config.servers.iter().map(|(name, server)| format!("{name} ({})", server.role.name())).collect();
        let known = match known.as_slice() {
            [] => "there are no [servers] in the configuration: name them in a file and that with --config, or use `master` and \
                   `worker`"
                .to_owned(),
            known => format!("[servers] has {}", known.join(", ")),
        };
        let asked = match named {
            Some(name) => format!("there is no server {name:?}"),
            None => format!("this host is called {host:?}, and no server is: name one with --name"),
        };
        Failure::usage(format!("{asked}; {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn config(sets: &[&str]) -> Config {
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        Sources { sets, ..Sources::default() }.load().expect("it is right")
    }

    fn three() -> Config {
        config(&["servers.yam1=master", "servers.yam2.example.com=worker", "servers.yam3=slave"])
    }

    #[test]
    fn a_server_is_found_by_name_and_else_by_host() {
        let config = three();
        let found = |named, host| find(&config, named, host).map(|(name, server)| (name.to_owned(), server.role)).ok();
        assert_eq!(found(Some("yam3"), "yam1"), Some(("yam3".to_owned(), ServerRole::Worker)));
        assert_eq!(found(None, "yam1"), Some(("yam1".to_owned(), ServerRole::Master)));
        assert_eq!(found(None, "yam1.example.com"), Some(("yam1".to_owned(), ServerRole::Master)));
        assert_eq!(found(None, "yam2.example.com"), Some(("yam2.example.com".to_owned(), ServerRole::Worker)));
        assert_eq!(found(Some("yam1.example.com"), "yam1"), None, "a name that is given is taken as it is");
    }

    #[test]
    fn whoever_is_not_found_is_told_who_there_is() {
        let refused = |config: &Config, named| find(config, named, "lab").expect_err("it is not there").to_string();
        let message = refused(&three(), Some("yam9"));
        assert!(
            message.contains("\"yam9\"") && message.contains("yam1 (master), yam2.example.com (worker), yam3 (worker)"),
            "{message}"
        );
        assert!(refused(&three(), None).contains("called \"lab\""));
        assert!(refused(&config(&[]), None).contains("no [servers]"));
    }
}
