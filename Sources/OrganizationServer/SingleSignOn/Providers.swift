import RegistryAccess
import SignedPolicy

/// The providers that organizations sign in at, as they describe themselves, and their keys.
///
/// What they say is kept for an hour. An ID token can make the server fetch a provider's keys once a minute, and no more.
actor Providers {
    private struct Kept<Value: Sendable> {
        let time: Instant
        /// Also a failure is kept, for a minute; and who comes while it is being fetched waits for the same.
        let task: Task<Result<Value, SingleSignOnFault>, Never>
    }

    /// How providers are asked.
    let connection: ProviderConnection
    private let now: @Sendable () -> Instant
    private var descriptions: [ProviderAddress: Kept<Provider>] = [:]
    private var keys: [ProviderAddress: Kept<[ProviderKey]>] = [:]

    private static let keptSeconds: Int64 = 3600
    private static let pauseSeconds: Int64 = 60
    private static let mostKept = 1000

    /// Nothing fetched so far.
    ///
    /// - Parameters:
    ///   - connection: how providers are asked.
    ///   - now: the time.
    init(connection: ProviderConnection = ProviderConnection(), now: @escaping @Sendable () -> Instant) {
        self.connection = connection
        self.now = now
    }

    /// What a provider says of itself.
    ///
    /// - Parameters:
    ///   - issuer: what it is called.
    ///   - isFetched: whether it is fetched even if it is kept.
    /// - Returns: the provider.
    /// - Throws: ``SingleSignOnFault``.
    func provider(_ issuer: ProviderAddress, isFetched: Bool = false) async throws(SingleSignOnFault) -> Provider {
        if !isFetched, let kept = descriptions[issuer], age(kept.time) < Self.keptSeconds {
            let result = await kept.task.value
            // Who has set their provider right does not wait.
            if case .success(let provider) = result { return provider }
        }
        let connection = connection
        let task = Task { () async -> Result<Provider, SingleSignOnFault> in
            do throws(SingleSignOnFault) {
                return .success(
                    try Provider(
                        discovery: try await connection.fetch(Provider.discovery(of: issuer)),
                        of: issuer
                    )
                )
            } catch {
                return .failure(error)
            }
        }
        if descriptions.count >= Self.mostKept { descriptions = [:] }
        descriptions[issuer] = Kept(time: now(), task: task)
        return try await task.value.get()
    }

    /// A key of a provider.
    ///
    /// - Parameters:
    ///   - id: what a token calls it.
    ///   - provider: whose.
    /// - Returns: the key.
    /// - Throws: ``SingleSignOnFault``: ``SingleSignOnFault/unknownKey`` if the provider has no such key.
    func key(_ id: String, of provider: Provider) async throws(SingleSignOnFault) -> ProviderKey {
        let known = keys[provider.keys]
        if let known, age(known.time) < Self.keptSeconds {
            let result = await known.task.value
            if case .success(let keys) = result, let key = Self.find(id, keys) { return key }
            if age(known.time) < Self.pauseSeconds {
                _ = try result.get()
                throw .unknownKey
            }
        }
        let fetched = keys[provider.keys]
        let task: Task<Result<[ProviderKey], SingleSignOnFault>, Never>
        if let fetched, age(fetched.time) < Self.pauseSeconds {
            // Another sign-in was faster.
            task = fetched.task
        } else {
            let (connection, address) = (connection, provider.keys)
            task = Task {
                do throws(SingleSignOnFault) {
                    return .success(try ProviderKey.set(try await connection.fetch(address.description)))
                } catch {
                    return .failure(error)
                }
            }
            if keys.count >= Self.mostKept { keys = [:] }
            keys[provider.keys] = Kept(time: now(), task: task)
        }
        guard let key = Self.find(id, try await task.value.get()) else { throw .unknownKey }
        return key
    }

    private static func find(_ id: String, _ keys: [ProviderKey]) -> ProviderKey? {
        keys.first { $0.id.utf8.elementsEqual(id.utf8) }
    }

    private func age(_ time: Instant) -> Int64 { now() - time }
}
