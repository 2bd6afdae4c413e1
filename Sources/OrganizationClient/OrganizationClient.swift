import AsyncHTTPClient
import NIOCore
import NIOSSL
import RegistryAccess
import SignedPolicy

/// The server of an organization as a machine sees it.
public struct OrganizationClient: Sendable {}
