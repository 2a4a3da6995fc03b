use std::io;
use std::net::TcpListener;

use swifthook_msswift::{Flags, Verb};

/// Whether somebody else listens where a run is to: `swift deploy` takes the next free port then, and says so to nobody.
pub(super) fn taken(verb: Verb, config: &Flags, recipe: &Flags) -> Option<String> {
    if verb != Verb::Deploy {
        return None;
    }
    let value = |name| recipe.value(name).or_else(|| config.value(name));
    let host = value("host").unwrap_or("0.0.0.0");
    let port: u16 = value("port").map_or(Some(DEFAULT), |port| port.parse().ok())?;
    match TcpListener::bind((host, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Some(format!("port {port} of {host} is taken, and ms-swift would silently listen on another"))
        }
        _ => None,
    }
}

/// <https://github.com/modelscope/ms-swift/blob/main/swift/arguments/deploy_args.py>
const DEFAULT: u16 = 8000;

#[cfg(test)]
mod tests {
    use swifthook_msswift::{Config, Permissions, Rules, Table, Trust, check};

    use super::*;

    fn flags(text: &str) -> Flags {
        let none = Permissions::default();
        let table = &Table::all()[0];
        let rules = Rules { table, verb: Verb::Deploy, trust: Trust::Code, permissions: &none };
        check(&Config::read(text.as_bytes()).unwrap(), rules).unwrap()
    }

    #[test]
    fn a_port_that_somebody_has_is_told_and_a_free_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let recipe = flags(&format!("host: 127.0.0.1\nport: {port}\n"));
        let config = flags("port: 1\n");
        let told = taken(Verb::Deploy, &config, &recipe).unwrap();
        assert!(told.starts_with(&format!("port {port} of 127.0.0.1 is taken")), "{told}");
        assert_eq!(taken(Verb::Sft, &config, &recipe), None);
        drop(listener);
        assert_eq!(taken(Verb::Deploy, &config, &recipe), None);
    }
}
