import OrganizationClient
import RegistryAccess
import SignedPolicy

/// Fetches what a machine has not got yet of its organization's documents, and accepts none of it.
///
/// What is needed next is found out with a copy of what is accepted, so that nothing else has to wait for the network.
struct DocumentFetch: Sendable {
    /// The organization's server.
    let client: OrganizationClient
    /// What the machine has.
    let state: OrganizationState
    /// By what the server named the freshness document that the machine has.
    let freshnessTag: String?
    /// What the clocks say.
    let reading: @Sendable () -> TrustedClock.Reading

    /// Why something did not come.
    enum Fault: Error, CustomStringConvertible {
        case server(ServerFault)
        case rejection(Rejection)

        var description: String {
            switch self {
            case .server(let fault): "\(fault)"
            case .rejection(let rejection): "\(rejection)"
            }
        }
    }

    /// What came.
    struct Fetched: Sendable {
        /// What is to be accepted in one go; nothing if the machine has all that there is.
        var update = OrganizationState.Update()
        /// By what the server names its freshness document.
        var freshnessTag: String?
        /// Why only root documents came, which are good without what should have come after them.
        var fault: Fault?
    }

    /// Fetches it.
    ///
    /// - Returns: what came.
    /// - Throws: `Fault` if a root document did not come, or is refused.
    func run() async throws(Fault) -> Fetched {
        var fetched = Fetched()
        var documents: TrustedDocuments
        if let accepted = state.documents {
            documents = accepted
        } else {
            let root: [UInt8]
            (root, documents) = try await firstRoot()
            fetched.update.roots = [root]
        }
        while fetched.update.roots.count < TrustedDocuments.mostRoots,
            let root = try await nextRoot(after: documents.root.version)
        {
            do throws(Rejection) {
                try documents.accept(roots: [root], at: Instant(seconds: 0))
            } catch {
                throw .rejection(error)
            }
            fetched.update.roots.append(root)
        }
        // With other keys the same document may have to be looked at again, now or when it was refused before.
        let hasAll = fetched.update.roots.isEmpty && documents.freshness != nil && documents.policy != nil
        let tag = hasAll ? freshnessTag : nil
        do throws(Fault) {
            guard let freshness = try await fetch(.freshness, unless: tag) else { return fetched }
            var policy: [UInt8]?
            if case .policyNeeded(let version) = documents.rejection(of: freshness.bytes, at: state.least(reading())) {
                policy = try await fetch(.policy(version))?.bytes
            }
            fetched.update.freshness = freshness.bytes
            fetched.update.policy = policy
            fetched.freshnessTag = freshness.tag
        } catch {
            fetched.fault = error
        }
        return fetched
    }

    /// The root document with which trust in the organization begins.
    private func firstRoot() async throws(Fault) -> ([UInt8], TrustedDocuments) {
        do throws(OrganizationClient.FirstRootFault) {
            return try await client.firstRoot(pinned: state.pinned)
        } catch {
            switch error {
            case .server(let fault): throw .server(fault)
            case .rejection(let rejection): throw .rejection(rejection)
            }
        }
    }

    private func nextRoot(after version: Int) async throws(Fault) -> [UInt8]? {
        do throws(Fault) {
            return try await fetch(.root(version + 1))?.bytes
        } catch {
            if case .server(.notFound) = error { return nil }
            throw error
        }
    }

    private func fetch(
        _ name: OrganizationClient.DocumentName,
        unless tag: String? = nil
    ) async throws(Fault) -> OrganizationClient.FetchedDocument? {
        do throws(ServerFault) {
            return try await client.fetch(name, unless: tag)
        } catch {
            throw .server(error)
        }
    }
}

extension TrustedDocuments {
    /// Why a freshness document would not be accepted without its policy.
    func rejection(of freshness: [UInt8], at now: Instant) -> Rejection? {
        var copy = self
        do throws(Rejection) {
            try copy.accept(freshness: freshness, policy: nil, at: now)
            return nil
        } catch {
            return error
        }
    }
}
