//! What a service manager is told.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::World;

#[test]
fn a_service_manager_hears_of_start_life_reload_and_end() {
    let world = World::new("run = { command = [\"true\"] }");
    let manager = Manager::new(&world);
    let mut server = manager.start(&world);
    let ready = manager.hear("READY=1");
    assert!(ready.contains("STATUS=taking pushes at 127.0.0.1:"), "{ready}");
    manager.hear("WATCHDOG=1");
    signal(&server, "HUP");
    let reloading = manager.hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hear("READY=1");
    manager.hear("WATCHDOG=1");
    signal(&server, "TERM");
    manager.hear("STOPPING=1");
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_reload_of_a_configuration_with_mistakes_ends_too() {
    let world = World::new("run = { command = [\"true\"] }");
    let manager = Manager::new(&world);
    let mut server = manager.start(&world);
    manager.hear("READY=1");
    world.configure("run = { command = [] }");
    signal(&server, "HUP");
    manager.hear("RELOADING=1");
    manager.hear("READY=1");
    signal(&server, "TERM");
    assert!(server.wait().unwrap().success());
}

struct Manager(UnixDatagram);

impl Manager {
    fn new(world: &World) -> Self {
        let socket = UnixDatagram::bind(world.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Self(socket)
    }

    fn start(&self, world: &World) -> Child {
        let mut command = world.program(&["serve"]);
        command.env("NOTIFY_SOCKET", world.path("notify")).env("WATCHDOG_USEC", "200000");
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The next message that says so.
    fn hear(&self, what: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let count = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("never {what}: {error}"));
            let said = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if said.lines().any(|line| line == what) {
                return said;
            }
        }
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}
