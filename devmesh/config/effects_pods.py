"""What of a pod has no effect here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Inert:
    """A field without effect: why, or what to do instead. With a `harmless` value it asks for nothing."""

    why: str = ""
    harmless: tuple[Any, ...] = (False, "", [], {})


_ONE_NODE = Inert("there is one node")
_NO_MODULE = Inert("no security module is set up for pods")
_WINDOWS = Inert("there is no Windows")
_PROFILE = Inert("the container engine's default profile holds", ("RuntimeDefault", "Localhost"))
_LOCAL_PROFILE = Inert("the node has no profiles of its own")

_CONTAINER: Mapping[str, Inert] = {
    "stdin": Inert("nothing is connected to it: kubectl attach shows the output alone; use kubectl exec -i"),
    "tty": Inert("nothing is connected to it; use kubectl exec -it"),
    "resizePolicy": Inert("a pod's resources are settled when it starts"),
    "restartPolicyRules": Inert(),
    "volumeDevices": Inert("there are no block devices"),
    "ports[].hostPort": Inert("use a Gateway or kubectl port-forward", (0,)),
    "ports[].hostIP": Inert("there are no host ports", ("",)),
    "volumeMounts[].mountPropagation": Inert("mounts stay in their container", ("None",)),
    "volumeMounts[].bindMountOptions": Inert(),
    "volumeMounts[].recursiveReadOnly": Inert("", ("Disabled",)),
    "env[].valueFrom.fileKeyRef": Inert(),
    "securityContext.procMount": Inert("", ("Default",)),
    "securityContext.seLinuxOptions": _NO_MODULE,
    "securityContext.windowsOptions": _WINDOWS,
    "securityContext.seccompProfile.type": _PROFILE,
    "securityContext.seccompProfile.localhostProfile": _LOCAL_PROFILE,
    "securityContext.appArmorProfile.type": _PROFILE,
    "securityContext.appArmorProfile.localhostProfile": _LOCAL_PROFILE,
}
POD_FIELDS: Mapping[str, Inert] = {
    "nodeSelector": _ONE_NODE,
    "affinity": _ONE_NODE,
    "tolerations": _ONE_NODE,
    "topologySpreadConstraints": _ONE_NODE,
    "priorityClassName": _ONE_NODE,
    "preemptionPolicy": Inert("there is one node", ("PreemptLowerPriority",)),
    "schedulerName": Inert("there is one node", ("default-scheduler", "")),
    "schedulingGates": _ONE_NODE,
    "schedulingGroup": _ONE_NODE,
    "runtimeClassName": Inert(),
    "overhead": Inert(),
    "resources": Inert("limits are a container's: containers[].resources"),
    "hostNetwork": Inert("the pod has a network of its own"),
    "hostPID": Inert(),
    "hostIPC": Inert(),
    "hostUsers": Inert("", (True,)),
    "hostnameOverride": Inert(),
    "setHostnameAsFQDN": Inert(),
    "shareProcessNamespace": Inert("each container has its own processes"),
    "resourceClaims": Inert(),
    "evictionResponders": Inert(),
    "dnsPolicy": Inert(
        "devmesh's DNS answers, and asks this machine's for other names",
        ("ClusterFirst", "ClusterFirstWithHostNet"),
    ),
    "dnsConfig": Inert("the search list is Kubernetes' own; see spec.dns of the mesh file"),
    "imagePullSecrets": Inert("images are pulled as you: docker login"),
    "automountServiceAccountToken": Inert(
        "no token is mounted: project one (volumes[].projected.sources[].serviceAccountToken)", (False,)
    ),
    "securityContext.seLinuxOptions": _NO_MODULE,
    "securityContext.seLinuxChangePolicy": _NO_MODULE,
    "securityContext.windowsOptions": _WINDOWS,
    "securityContext.supplementalGroupsPolicy": Inert("", ("Merge",)),
    "securityContext.seccompProfile.type": _PROFILE,
    "securityContext.seccompProfile.localhostProfile": _LOCAL_PROFILE,
    "securityContext.appArmorProfile.type": _PROFILE,
    "securityContext.appArmorProfile.localhostProfile": _LOCAL_PROFILE,
    "volumes[].emptyDir.sizeLimit": Inert("it may grow as the disk allows"),
    "volumes[].emptyDir.medium": Inert("it lies on the disk"),
    **{
        f"{containers}[].{field}": inert
        for containers in ("containers", "initContainers")
        for field, inert in _CONTAINER.items()
    },
}
