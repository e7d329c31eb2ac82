//! The control group of a process, and what its path tells about the container and the pod.
//!
//! Container runtimes agree on little but that the last parts of the path hold the container's id in 64 hexadecimal
//! digits, and that kubelet puts `pod` and the pod's UID into a part above; with the systemd driver, `-` in the UID
//! is written `_`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::roots::{self, Pid, Roots};

/// Where a process is in the hierarchy of control groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Path below the root of the unified hierarchy (version 2), else of the hierarchy of memory (version 1).
    pub path: String,
    /// Folder of that control group, if the hierarchy is mounted where we see it.
    pub folder: Option<PathBuf>,
    /// The kernel's id of the version 2 group (what `bpf_get_current_cgroup_id` gives): the folder's inode number.
    pub id: Option<u64>,
    /// The same path in each version 1 hierarchy that counts something for us.
    pub(crate) v1: Vec<(String, PathBuf)>,
    /// `container.id`.
    pub container: Option<String>,
    /// `k8s.pod.uid`.
    pub pod: Option<String>,
}

impl Cgroup {
    /// Reads that of a process; default if there is nothing to read.
    pub(crate) fn of(roots: &Roots, pid: Pid) -> Self {
        roots.read_of(pid, "cgroup").map_or_else(|_| Self::default(), |text| Self::parse(roots, &text))
    }

    fn parse(roots: &Roots, text: &[u8]) -> Self {
        let mut cgroup = Self::default();
        let mount = roots.sys.join("fs/cgroup");
        let mut memory = None;
        for line in roots::lines(text) {
            let line = String::from_utf8_lossy(line);
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
            cgroup.identify(path);
            let below = Path::new(path.trim_start_matches('/'));
            // A namespace other than ours shows paths from above its own root.
            let visible = !below.components().any(|part| part == std::path::Component::ParentDir);
            if controllers.is_empty() {
                path.clone_into(&mut cgroup.path);
                // Hybrid hosts have version 2 in a folder of its own beside those of version 1.
                let folders = [mount.join("unified"), mount.clone()];
                let version_2 = folders.iter().find(|folder| folder.join("cgroup.procs").exists());
                if let Some(folder) = version_2.filter(|_| visible).map(|folder| folder.join(below)) {
                    cgroup.id = folder.metadata().ok().map(|folder| folder.ino());
                    cgroup.folder = Some(folder);
                }
            } else if visible {
                for controller in controllers.split(',').filter(|name| matches!(*name, "memory" | "cpuacct" | "cpu")) {
                    let folder = mount.join(controller).join(below);
                    if folder.exists() {
                        cgroup.v1.push((controller.to_owned(), folder));
                    }
                    if controller == "memory" {
                        memory = Some(path.to_owned());
                    }
                }
            }
        }
        // On hybrid hosts the version 2 hierarchy may be there and not be used.
        if let Some(memory) = memory.filter(|_| cgroup.path.len() <= 1) {
            cgroup.path = memory;
        }
        cgroup
    }

    fn identify(&mut self, path: &str) {
        for part in path.split(['/', ':']) {
            if self.pod.is_none() {
                self.pod = pod(part);
            }
            // The innermost: a container may run containers.
            if let Some(id) = container(part) {
                self.container = Some(id);
            }
        }
    }
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`, or `ID`.
fn container(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    // The runtime's monitor is not in the container: `crio-conmon-ID`, `libpod-conmon-ID`.
    if name.contains("conmon-") {
        return None;
    }
    let id = name.rsplit('-').next()?;
    (id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))).then(|| id.to_owned())
}

/// `podUID` or `kubepods-burstable-podUID.slice`. Pods from files have a hash of 32 digits for their UID.
fn pod(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match name.strip_prefix("pod") {
        Some(uid) => uid,
        // A kubelet in a container of its own puts that before: `kubelet-kubepods-..`.
        None => name.split_once("kubepods")?.1.rsplit_once("-pod")?.1,
    };
    let uid = uid.replace('_', "-");
    let hexadecimal = uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (hexadecimal && matches!(uid.len(), 32 | 36)).then_some(uid)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "2ae7dd2e-7d1c-4c3c-9f4b-3a5a5a5d3c10";

    fn identify(path: &str) -> (Option<String>, Option<String>) {
        let mut cgroup = Cgroup::default();
        cgroup.identify(path);
        (cgroup.container, cgroup.pod)
    }

    #[test]
    fn container_and_pod_are_known_from_the_paths_of_all_runtimes() {
        let uid = UID.replace('-', "_");
        let in_pod = [
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{uid}.slice/crio-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod{uid}.slice/docker-{ID}.scope"),
            format!("/system.slice/containerd.service/kubepods-besteffort-pod{uid}.slice:cri-containerd:{ID}"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{uid}.slice/cri-containerd-{ID}.scope/init"
            ),
        ];
        for path in in_pod {
            let (container, pod) = identify(&path);
            assert_eq!(container.as_deref(), Some(ID), "{path}");
            assert_eq!(pod.as_deref(), Some(UID), "{path}");
        }
        let plain = [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
        ];
        for path in plain {
            assert_eq!(identify(&path), (Some(ID.to_owned()), None), "{path}");
        }
        for path in
            ["/", "/user.slice/user-0.slice/session-1.scope", &format!("/machine.slice/libpod-conmon-{ID}.scope")]
        {
            assert_eq!(identify(path), (None, None), "{path}");
        }
        let from_file = format!("/kubepods/pod{}/{ID}", "0123456789abcdef0123456789abcdef");
        assert_eq!(identify(&from_file).1.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn folder_and_id_are_found_with_version_2_alone_and_beside_version_1() {
        for unified in ["fs/cgroup", "fs/cgroup/unified"] {
            let sys = tempfile::tempdir().unwrap();
            let folder = sys.path().join(unified).join("a/b");
            fs::create_dir_all(&folder).unwrap();
            fs::create_dir_all(sys.path().join("fs/cgroup/memory/m")).unwrap();
            fs::write(sys.path().join(unified).join("cgroup.procs"), "").unwrap();
            let roots = Roots { sys: sys.path().to_owned(), ..Roots::default() };
            let cgroup = Cgroup::parse(&roots, b"4:memory:/m\n0::/a/b\n");
            assert_eq!(cgroup.path, "/a/b");
            assert_eq!(cgroup.id, Some(folder.metadata().unwrap().ino()));
            assert_eq!(cgroup.v1, [("memory".to_owned(), sys.path().join("fs/cgroup/memory/m"))]);
            let outside = Cgroup::parse(&roots, b"0::/../../x\n");
            assert_eq!((outside.id, outside.folder), (None, None), "leads out of the hierarchy");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text: Vec<u8>, path: String) {
            Cgroup::parse(&Roots::default(), &text);
            identify(&path);
        }
    }
}
