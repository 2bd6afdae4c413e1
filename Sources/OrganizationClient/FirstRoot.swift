public import SignedPolicy

extension OrganizationClient {
    /// Why nobody can begin to trust an organization.
    public enum FirstRootFault: Error, Hashable, Sendable, CustomStringConvertible {
        /// The server did not do what was asked.
        case server(ServerFault)
        /// What it sent is not accepted; `notPinned` if no root document is signed by the key.
        case rejection(Rejection)

        /// What is wrong, lower-case.
        public var description: String {
            switch self {
            case .server(let fault): "\(fault)"
            case .rejection(let rejection): "\(rejection)"
            }
        }
    }

    /// Fetches the root document with which trust in the organization begins: ordinarily the newest, or else the first of the
    /// older ones that the key has signed.
    ///
    /// - Parameter pinned: a root key of the organization, which somebody who knows it has named.
    /// - Returns: the envelope, and what is trusted by it.
    /// - Throws: ``FirstRootFault``.
    public func firstRoot(
        pinned: KeyID
    ) async throws(FirstRootFault) -> (envelope: [UInt8], documents: TrustedDocuments) {
        guard let newest = try await root(nil) else { throw .server(.notFound) }
        do throws(Rejection) {
            return (newest, try TrustedDocuments(organization: organization, pinned: pinned, roots: [newest]))
        } catch {
            guard error == .notPinned else { throw .rejection(error) }
        }
        for version in 1...TrustedDocuments.mostRoots {
            guard let older = try await root(version) else { break }
            if let documents = try? TrustedDocuments(organization: organization, pinned: pinned, roots: [older]) {
                return (older, documents)
            }
        }
        throw .rejection(.notPinned)
    }

    private func root(_ version: Int?) async throws(FirstRootFault) -> [UInt8]? {
        do throws(ServerFault) {
            return try await fetch(.root(version))?.bytes
        } catch {
            guard error == .notFound else { throw .server(error) }
            return nil
        }
    }
}
