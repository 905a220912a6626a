"""The containers of a pod."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.environment import EnvFromSource, EnvVar
from devmesh.config.documents.message import Message
from devmesh.config.documents.scalars import IntOrString, Quantity


class ExecAction(Message, frozen=True, kw_only=True):
    """Run a command inside the container; exit status 0 is success."""

    command: tuple[str, ...] = ()


class HTTPHeader(Message, frozen=True, kw_only=True):
    """One header of a probe's request."""

    name: str
    value: str


class HTTPGetAction(Message, frozen=True, kw_only=True):
    """Ask by HTTP; 200 to 399 is success."""

    port: IntOrString
    host: str | None = None
    http_headers: tuple[HTTPHeader, ...] = ()
    path: str | None = None
    protocol: str | None = None
    scheme: str | None = None


class SleepAction(Message, frozen=True, kw_only=True):
    """Wait some seconds."""

    seconds: int


class TCPSocketAction(Message, frozen=True, kw_only=True):
    """Connect; success if somebody listens."""

    port: IntOrString
    host: str | None = None


class LifecycleHandler(Message, frozen=True, kw_only=True):
    """One hook: a command, an HTTP request, a pause."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    sleep: SleepAction | None = None
    tcp_socket: TCPSocketAction | None = None


class Lifecycle(Message, frozen=True, kw_only=True):
    """What to do after a container has started and before it is stopped."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str | None = None


class GRPCAction(Message, frozen=True, kw_only=True):
    """Ask the gRPC health service."""

    port: int
    mode: str | None = None
    service: str | None = None


class Probe(Message, frozen=True, kw_only=True):
    """How to find out whether a container has started, lives, or is ready."""

    exec: ExecAction | None = None
    failure_threshold: int | None = None
    grpc: GRPCAction | None = None
    http_get: HTTPGetAction | None = None
    initial_delay_seconds: int | None = None
    period_seconds: int | None = None
    success_threshold: int | None = None
    tcp_socket: TCPSocketAction | None = None
    termination_grace_period_seconds: int | None = None
    timeout_seconds: int | None = None


class ContainerPort(Message, frozen=True, kw_only=True):
    """A port that a container listens on; its name is what Services refer to."""

    container_port: int
    host_ip: str | None = field(default=None, name="hostIP")
    host_port: int | None = None
    name: str | None = None
    protocol: str | None = None


class ContainerResizePolicy(Message, frozen=True, kw_only=True):
    """Container Resize Policy, as in Kubernetes; without effect here."""

    resource_name: str
    restart_policy: str


class ResourceClaim(Message, frozen=True, kw_only=True):
    """Resource Claim, as in Kubernetes; without effect here."""

    name: str
    request: str | None = None


class ResourceRequirements(Message, frozen=True, kw_only=True):
    """What a container asks for (requests) and may use at most (limits)."""

    claims: tuple[ResourceClaim, ...] = ()
    limits: dict[str, Quantity] = field(default_factory=dict)
    requests: dict[str, Quantity] = field(default_factory=dict)


class ContainerRestartRuleOnExitCodes(Message, frozen=True, kw_only=True):
    """Container Restart Rule On Exit Codes, as in Kubernetes; without effect here."""

    operator: str
    values: tuple[int, ...] = ()


class ContainerRestartRule(Message, frozen=True, kw_only=True):
    """Container Restart Rule, as in Kubernetes; without effect here."""

    action: str
    exit_codes: ContainerRestartRuleOnExitCodes | None = None


class AppArmorProfile(Message, frozen=True, kw_only=True):
    """The AppArmor profile."""

    type: str
    localhost_profile: str | None = None


class Capabilities(Message, frozen=True, kw_only=True):
    """Linux capabilities to add and to drop."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SELinuxOptions(Message, frozen=True, kw_only=True):
    """SELinux labels."""

    level: str | None = None
    role: str | None = None
    type: str | None = None
    user: str | None = None


class SeccompProfile(Message, frozen=True, kw_only=True):
    """The seccomp profile."""

    type: str
    localhost_profile: str | None = None


class WindowsSecurityContextOptions(Message, frozen=True, kw_only=True):
    """Rights on Windows."""

    gmsa_credential_spec: str | None = None
    gmsa_credential_spec_name: str | None = None
    host_process: bool | None = None
    run_as_user_name: str | None = None


class SecurityContext(Message, frozen=True, kw_only=True):
    """User, capabilities and other rights of one container."""

    allow_privilege_escalation: bool | None = None
    app_armor_profile: AppArmorProfile | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    proc_mount: str | None = None
    read_only_root_filesystem: bool | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    se_linux_options: SELinuxOptions | None = None
    seccomp_profile: SeccompProfile | None = None
    windows_options: WindowsSecurityContextOptions | None = None


class VolumeDevice(Message, frozen=True, kw_only=True):
    """Where a container sees a raw block device."""

    device_path: str
    name: str


class VolumeMount(Message, frozen=True, kw_only=True):
    """Where a container sees a volume."""

    mount_path: str
    name: str
    bind_mount_options: tuple[str, ...] = ()
    mount_propagation: str | None = None
    read_only: bool | None = None
    recursive_read_only: str | None = None
    sub_path: str | None = None
    sub_path_expr: str | None = None


class Container(Message, frozen=True, kw_only=True):
    """One process of a pod, with its image."""

    name: str
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    image: str | None = None
    image_pull_policy: str | None = None
    lifecycle: Lifecycle | None = None
    liveness_probe: Probe | None = None
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements | None = None
    restart_policy: str | None = None
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    security_context: SecurityContext | None = None
    startup_probe: Probe | None = None
    stdin: bool | None = None
    stdin_once: bool | None = None
    termination_message_path: str | None = None
    termination_message_policy: str | None = None
    tty: bool | None = None
    volume_devices: tuple[VolumeDevice, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    working_dir: str | None = None


class EphemeralContainer(Message, frozen=True, kw_only=True):
    """A container that is added to a running pod, to look into it."""

    name: str
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    image: str | None = None
    image_pull_policy: str | None = None
    lifecycle: Lifecycle | None = None
    liveness_probe: Probe | None = None
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    resize_policy: tuple[ContainerResizePolicy, ...] = ()
    resources: ResourceRequirements | None = None
    restart_policy: str | None = None
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()
    security_context: SecurityContext | None = None
    startup_probe: Probe | None = None
    stdin: bool | None = None
    stdin_once: bool | None = None
    target_container_name: str | None = None
    termination_message_path: str | None = None
    termination_message_policy: str | None = None
    tty: bool | None = None
    volume_devices: tuple[VolumeDevice, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    working_dir: str | None = None
