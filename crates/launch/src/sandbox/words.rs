use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use swifthook_core::Sandbox;

use super::mounts::{Inherits, Mounts};

/// The namespaces and what goes with them: see `bwrap(1)`.
pub(super) fn namespaces(sandbox: &Sandbox) -> Vec<OsString> {
    let network = (!sandbox.network).then_some("--unshare-net");
    ALONE.into_iter().chain(network).map(OsString::from).collect()
}

/// The words for what is seen, as the user of this process may see it, and for the folder that the command begins in; and the
/// descriptors that they name.
///
/// # Errors
///
/// If something is not there that the run needs.
pub(super) fn words(sandbox: &Sandbox, inherits: Inherits) -> io::Result<(Vec<OsString>, Vec<OwnedFd>)> {
    let mounts = Mounts::of(&sandbox.mounts, inherits)?;
    // One more is `/run`.
    let each = sandbox.memory.map(|memory| (memory / (mounts.in_memory() + 1)).max(LEAST));
    let mut words: Vec<OsString> = MACHINE.map(OsString::from).into();
    words.extend(size(sandbox.memory));
    words.extend(SHARED_MEMORY.map(OsString::from));
    words.extend(size(each));
    words.extend(RUN.map(OsString::from));
    let (mounts, open) = mounts.sized(each).into_words();
    words.extend(mounts);
    words.extend(["--chdir".into(), sandbox.working_dir.clone().into()]);
    Ok((words, open))
}

/// The words that come before a file system in memory.
pub(super) fn size(most: Option<u64>) -> impl Iterator<Item = OsString> {
    most.into_iter().flat_map(|most| ["--size".into(), most.to_string().into()])
}

/// Takes files from the folder of the devices, which is in memory and has no size. What is mounted in it stays as it is.
pub(super) fn without_files() -> [OsString; 2] {
    ["--remount-ro".into(), "/dev".into()]
}

/// The nodes of the GPUs that are visible to the run, and of no others.
///
/// # Errors
///
/// If there is none for one of them.
pub(super) fn devices(sandbox: &Sandbox, visible: Option<&str>) -> io::Result<Vec<OsString>> {
    let names = visible.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    // CUDA sees nothing from the first on that is none.
    let names = names.take_while(|name| !NO_GPU.contains(name));
    let mut nodes = BTreeSet::new();
    for name in names {
        let of_this = sandbox.gpus.get(name).ok_or_else(|| {
            io::Error::other(format!("no device node is known of the GPU `{name}` in CUDA_VISIBLE_DEVICES"))
        })?;
        if let Some(missing) = of_this.iter().find(|node| !Path::new(node).exists()) {
            return Err(io::Error::other(format!("there is no `{missing}`, the device of the GPU `{name}`")));
        }
        nodes.extend(of_this.iter().map(String::as_str));
    }
    let shared = if nodes.is_empty() { &[][..] } else { &SHARED[..] };
    Ok(nodes.into_iter().chain(shared.iter().copied()).flat_map(device).collect())
}

/// Those of every GPU that a machine may have, where something else keeps runs apart.
#[cfg(feature = "slurm")]
pub(super) fn all_devices() -> Vec<OsString> {
    let numbered: Vec<_> = (0..MOST_GPUS).map(|number| format!("/dev/nvidia{number}")).collect();
    let all = numbered.iter().map(String::as_str).chain(SHARED).chain(["/dev/nvidia-caps"]);
    all.flat_map(device).collect()
}

fn device(node: &str) -> [OsString; 3] {
    ["--dev-bind-try".into(), node.into(), node.into()]
}

/// A session of its own cannot put characters into the terminal of another (`TIOCSTI`).
const ALONE: [&str; 9] = [
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
];
const MACHINE: [&str; 7] = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"];
const SHARED_MEMORY: [&str; 4] = ["--perms", "1777", "--tmpfs", "/dev/shm"];
const RUN: [&str; 2] = ["--tmpfs", "/run"];
/// Less than that holds no file of anybody: <https://docs.kernel.org/filesystems/tmpfs.html>.
const LEAST: u64 = 1 << 20;
/// Nodes that all of them need: <https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html>.
const SHARED: [&str; 4] =
    ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];
const NO_GPU: [&str; 4] = ["-1", "NoDevFiles", "none", "void"];
#[cfg(feature = "slurm")]
const MOST_GPUS: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two GPUs, of one of which there is a node.
    fn sandbox() -> Sandbox {
        let gpus = [("GPU-1", "/dev/null"), ("GPU-2", "/dev/zero"), ("GPU-3", "/dev/no-such-node")];
        let gpus = gpus.map(|(name, node)| (name.to_owned(), vec![node.to_owned()])).into();
        Sandbox { gpus, ..Sandbox::default() }
    }

    fn nodes(visible: Option<&str>) -> Result<Vec<String>, String> {
        let words = devices(&sandbox(), visible).map_err(|error| error.to_string())?;
        Ok(words.chunks(3).map(|words| words[1].to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_run_has_the_nodes_of_its_gpus_and_of_no_others() {
        assert_eq!(nodes(None), Ok(Vec::new()));
        assert_eq!(nodes(Some("")), Ok(Vec::new()));
        assert_eq!(nodes(Some("-1,GPU-1")), Ok(Vec::new()));
        let one = nodes(Some("GPU-2")).unwrap();
        assert_eq!((&*one[0], one.len()), ("/dev/zero", 1 + SHARED.len()));
        assert_eq!(nodes(Some("GPU-1, GPU-2")).unwrap().len(), 2 + SHARED.len());
    }

    #[test]
    fn a_gpu_without_a_node_is_told_and_gives_no_other() {
        assert_eq!(
            nodes(Some("GPU-9")).unwrap_err(),
            "no device node is known of the GPU `GPU-9` in CUDA_VISIBLE_DEVICES"
        );
        assert_eq!(
            nodes(Some("GPU-3")).unwrap_err(),
            "there is no `/dev/no-such-node`, the device of the GPU `GPU-3`"
        );
    }

    #[test]
    fn files_in_memory_have_no_more_of_it_than_the_run() {
        let sized = |memory| {
            let mounts = ["/usr/share", "/usr/lib"].map(|path| swifthook_core::Mount::Empty(path.to_owned()));
            let sandbox =
                Sandbox { memory, mounts: mounts.into(), working_dir: "/".into(), ..Sandbox::default() };
            words(&sandbox, Inherits::Descriptors)
                .unwrap()
                .0
                .join(&OsString::from(" "))
                .into_string()
                .unwrap()
        };
        let words = sized(Some(300 << 20));
        for wanted in [
            "--size 314572800 --perms 1777 --tmpfs /dev/shm --size 104857600 --tmpfs /run",
            "--size 104857600 --tmpfs /usr/share",
            "--size 104857600 --tmpfs /usr/lib",
        ] {
            assert!(words.contains(wanted), "{words}");
        }
        assert!(sized(Some(1)).contains("--size 1048576 --tmpfs /run"));
        assert!(!sized(None).contains("--size"));
    }

    #[test]
    fn a_sandbox_without_a_network_has_one_of_its_own() {
        let has = |network| {
            namespaces(&Sandbox { network, ..Sandbox::default() }).contains(&OsString::from("--unshare-net"))
        };
        assert!(has(false) && !has(true));
    }
}
