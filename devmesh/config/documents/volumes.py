"""The volumes of a pod."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.claims import PersistentVolumeClaimTemplate
from devmesh.config.documents.environment import ObjectFieldSelector, ResourceFieldSelector
from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import LabelSelector, LocalObjectReference
from devmesh.config.documents.scalars import Quantity
from devmesh.config.documents.storage import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    AzureFileVolumeSource,
    CephFSVolumeSource,
    CinderVolumeSource,
    FCVolumeSource,
    FlexVolumeSource,
    FlockerVolumeSource,
    GCEPersistentDiskVolumeSource,
    GitRepoVolumeSource,
    GlusterfsVolumeSource,
    ISCSIVolumeSource,
    NFSVolumeSource,
    PhotonPersistentDiskVolumeSource,
    PortworxVolumeSource,
    QuobyteVolumeSource,
    RBDVolumeSource,
    ScaleIOVolumeSource,
    StorageOSVolumeSource,
    VsphereVirtualDiskVolumeSource,
)


class KeyToPath(Message, frozen=True, kw_only=True):
    """A key, and the file it becomes."""

    key: str
    path: str
    mode: int | None = None
    user: int | None = None


class ConfigMapVolumeSource(Message, frozen=True, kw_only=True):
    """The keys of a ConfigMap as files."""

    default_mode: int | None = None
    default_user: int | None = None
    items: tuple[KeyToPath, ...] = ()
    name: str | None = None
    optional: bool | None = None


class CSIVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of a CSI driver."""

    driver: str
    fs_type: str | None = None
    node_publish_secret_ref: LocalObjectReference | None = None
    read_only: bool | None = None
    volume_attributes: dict[str, str] = field(default_factory=dict)


class DownwardAPIVolumeFile(Message, frozen=True, kw_only=True):
    """One file with a field of the pod."""

    path: str
    field_ref: ObjectFieldSelector | None = None
    mode: int | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    user: int | None = None


class DownwardAPIVolumeSource(Message, frozen=True, kw_only=True):
    """Fields of the pod as files."""

    default_mode: int | None = None
    default_user: int | None = None
    items: tuple[DownwardAPIVolumeFile, ...] = ()


class EmptyDirVolumeSource(Message, frozen=True, kw_only=True):
    """A fresh directory that lives as long as the pod."""

    medium: str | None = None
    mode: int | None = None
    size_limit: Quantity | None = None


class EphemeralVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Ephemeral; without effect here."""

    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class HostPathVolumeSource(Message, frozen=True, kw_only=True):
    """A path of the host."""

    path: str
    type: str | None = None


class ImageVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Image; without effect here."""

    pull_policy: str | None = None
    reference: str | None = None


class PersistentVolumeClaimVolumeSource(Message, frozen=True, kw_only=True):
    """The volume of a claim."""

    claim_name: str
    read_only: bool | None = None


class ClusterTrustBundleProjection(Message, frozen=True, kw_only=True):
    """Cluster Trust Bundle Projection, as in Kubernetes; without effect here."""

    path: str
    label_selector: LabelSelector | None = None
    name: str | None = None
    optional: bool | None = None
    signer_name: str | None = None
    user: int | None = None


class ConfigMapProjection(Message, frozen=True, kw_only=True):
    """The keys of a ConfigMap as files."""

    items: tuple[KeyToPath, ...] = ()
    name: str | None = None
    optional: bool | None = None


class DownwardAPIProjection(Message, frozen=True, kw_only=True):
    """Fields of the pod as files."""

    items: tuple[DownwardAPIVolumeFile, ...] = ()


class PodCertificateProjection(Message, frozen=True, kw_only=True):
    """Pod Certificate Projection, as in Kubernetes; without effect here."""

    key_type: str
    signer_name: str
    certificate_chain_path: str | None = None
    credential_bundle_path: str | None = None
    key_path: str | None = None
    max_expiration_seconds: int | None = None
    user: int | None = None
    user_annotations: dict[str, str] = field(default_factory=dict)


class SecretProjection(Message, frozen=True, kw_only=True):
    """The keys of a Secret as files."""

    items: tuple[KeyToPath, ...] = ()
    name: str | None = None
    optional: bool | None = None


class ServiceAccountTokenProjection(Message, frozen=True, kw_only=True):
    """A token for the pod's service account, as a file."""

    path: str
    audience: str | None = None
    expiration_seconds: int | None = None
    user: int | None = None


class VolumeProjection(Message, frozen=True, kw_only=True):
    """One source of a projected volume."""

    cluster_trust_bundle: ClusterTrustBundleProjection | None = None
    config_map: ConfigMapProjection | None = None
    downward_api: DownwardAPIProjection | None = field(default=None, name="downwardAPI")
    pod_certificate: PodCertificateProjection | None = None
    secret: SecretProjection | None = None
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Message, frozen=True, kw_only=True):
    """Several sources in one directory."""

    default_mode: int | None = None
    default_user: int | None = None
    sources: tuple[VolumeProjection, ...] = ()


class SecretVolumeSource(Message, frozen=True, kw_only=True):
    """The keys of a Secret as files."""

    default_mode: int | None = None
    default_user: int | None = None
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None
    secret_name: str | None = None


class Volume(Message, frozen=True, kw_only=True):
    """A directory that containers of the pod can mount; one source says what is in it."""

    name: str
    aws_elastic_block_store: AWSElasticBlockStoreVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    azure_file: AzureFileVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = field(default=None, name="downwardAPI")
    empty_dir: EmptyDirVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flex_volume: FlexVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gce_persistent_disk: GCEPersistentDiskVolumeSource | None = None
    git_repo: GitRepoVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    image: ImageVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    photon_persistent_disk: PhotonPersistentDiskVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    scale_io: ScaleIOVolumeSource | None = field(default=None, name="scaleIO")
    secret: SecretVolumeSource | None = None
    storageos: StorageOSVolumeSource | None = None
    vsphere_volume: VsphereVirtualDiskVolumeSource | None = None
