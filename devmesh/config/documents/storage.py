"""Volumes of clouds and storage systems: known by name, none has an effect here."""

from __future__ import annotations

from msgspec import field

from devmesh.config.documents.message import Message
from devmesh.config.documents.meta import LocalObjectReference


class AWSElasticBlockStoreVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of AWS Elastic Block Store; without effect here."""

    volume_id: str = field(name="volumeID")
    fs_type: str | None = None
    partition: int | None = None
    read_only: bool | None = None


class AzureDiskVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Azure Disk; without effect here."""

    disk_name: str
    disk_uri: str = field(name="diskURI")
    caching_mode: str | None = None
    fs_type: str | None = None
    kind: str | None = None
    read_only: bool | None = None


class AzureFileVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Azure File; without effect here."""

    secret_name: str
    share_name: str
    read_only: bool | None = None


class CephFSVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Ceph FS; without effect here."""

    monitors: tuple[str, ...]
    path: str | None = None
    read_only: bool | None = None
    secret_file: str | None = None
    secret_ref: LocalObjectReference | None = None
    user: str | None = None


class CinderVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Cinder; without effect here."""

    volume_id: str = field(name="volumeID")
    fs_type: str | None = None
    read_only: bool | None = None
    secret_ref: LocalObjectReference | None = None


class FCVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of FC; without effect here."""

    fs_type: str | None = None
    lun: int | None = None
    read_only: bool | None = None
    target_wwns: tuple[str, ...] = field(default=(), name="targetWWNs")
    wwids: tuple[str, ...] = ()


class FlexVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Flex; without effect here."""

    driver: str
    fs_type: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    read_only: bool | None = None
    secret_ref: LocalObjectReference | None = None


class FlockerVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Flocker; without effect here."""

    dataset_name: str | None = None
    dataset_uuid: str | None = field(default=None, name="datasetUUID")


class GCEPersistentDiskVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of GCE Persistent Disk; without effect here."""

    pd_name: str
    fs_type: str | None = None
    partition: int | None = None
    read_only: bool | None = None


class GitRepoVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Git Repo; without effect here."""

    repository: str
    directory: str | None = None
    revision: str | None = None


class GlusterfsVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Glusterfs; without effect here."""

    endpoints: str
    path: str
    read_only: bool | None = None


class ISCSIVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of ISCSI; without effect here."""

    iqn: str
    lun: int
    target_portal: str
    chap_auth_discovery: bool | None = None
    chap_auth_session: bool | None = None
    fs_type: str | None = None
    initiator_name: str | None = None
    iscsi_interface: str | None = None
    portals: tuple[str, ...] = ()
    read_only: bool | None = None
    secret_ref: LocalObjectReference | None = None


class NFSVolumeSource(Message, frozen=True, kw_only=True):
    """A directory of an NFS server."""

    path: str
    server: str
    read_only: bool | None = None


class PhotonPersistentDiskVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Photon Persistent Disk; without effect here."""

    pd_id: str = field(name="pdID")
    fs_type: str | None = None


class PortworxVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Portworx; without effect here."""

    volume_id: str = field(name="volumeID")
    fs_type: str | None = None
    read_only: bool | None = None


class QuobyteVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Quobyte; without effect here."""

    registry: str
    volume: str
    group: str | None = None
    read_only: bool | None = None
    tenant: str | None = None
    user: str | None = None


class RBDVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of RBD; without effect here."""

    image: str
    monitors: tuple[str, ...]
    fs_type: str | None = None
    keyring: str | None = None
    pool: str | None = None
    read_only: bool | None = None
    secret_ref: LocalObjectReference | None = None
    user: str | None = None


class ScaleIOVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Scale IO; without effect here."""

    gateway: str
    secret_ref: LocalObjectReference
    system: str
    fs_type: str | None = None
    protection_domain: str | None = None
    read_only: bool | None = None
    ssl_enabled: bool | None = None
    storage_mode: str | None = None
    storage_pool: str | None = None
    volume_name: str | None = None


class StorageOSVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Storage OS; without effect here."""

    fs_type: str | None = None
    read_only: bool | None = None
    secret_ref: LocalObjectReference | None = None
    volume_name: str | None = None
    volume_namespace: str | None = None


class VsphereVirtualDiskVolumeSource(Message, frozen=True, kw_only=True):
    """A volume of Vsphere Virtual Disk; without effect here."""

    volume_path: str
    fs_type: str | None = None
    storage_policy_id: str | None = field(default=None, name="storagePolicyID")
    storage_policy_name: str | None = None
