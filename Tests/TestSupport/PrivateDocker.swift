import Foundation

/// A whole private Docker on loopback: an engine with docker-ramd, a registry that the policy allows, and one that it
/// does not.
public struct PrivateDocker: Sendable {
    /// The engine.
    public let engine: PrivateEngine
    /// The registry that the policy allows.
    public let allowed: PrivateRegistry
    /// The registry that the policy does not allow, though it would serve its image to anybody.
    public let refused: PrivateRegistry

    /// Runs all of it while a body runs.
    ///
    /// - Parameters:
    ///   - account: who may use the registries, if not everybody.
    ///   - body: gets it.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why a part does not start.
    public static func with<Result>(
        account: PrivateRegistry.Account? = nil,
        _ body: (PrivateDocker) async throws -> Result
    ) async throws -> Result {
        try await withTemporaryDirectory { (directory: String) async throws -> Result in
            for part in ["a", "r", "e"] {
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/\(part)",
                    withIntermediateDirectories: true
                )
            }
            return try await PrivateRegistry.with(in: "\(directory)/a", account: account) { allowed in
                try await PrivateRegistry.with(in: "\(directory)/r", account: account) { refused in
                    try await PrivateEngine.with(
                        in: "\(directory)/e",
                        policy: policy(version: 1, allowing: [allowed.address])
                    ) { engine in
                        try await body(PrivateDocker(engine: engine, allowed: allowed, refused: refused))
                    }
                }
            }
        }
    }

    /// Runs all of it in a network of its own, with TLS: the engine's only way out is the egress proxy of docker-ramd.
    ///
    /// - Parameters:
    ///   - policy: the policy; without one it allows only ``PrivateNetwork/Host/registry``.
    ///   - account: who may use the registries, if not everybody.
    ///   - hasPlugin: whether the engine also asks the authorization plugin; without it, the proxy is alone.
    ///   - way: how the engine goes out, if not so.
    ///   - engineSettings: more members of the engine's `daemon.json`, each after a comma.
    ///   - daemonSettings: the settings of docker-ramd, if there are any.
    ///   - body: gets it, and the network.
    /// - Returns: what the body returns.
    /// - Throws: what the body throws, or why a part does not start.
    public static func behindProxy<Result>(
        policy: String? = PrivateDocker.policy(version: 1, allowing: [PrivateNetwork.Host.registry.name]),
        account: PrivateRegistry.Account? = nil,
        hasPlugin: Bool = false,
        way: PrivateEngine.Way = .egressProxy,
        engineSettings: String = "",
        daemonSettings: String? = nil,
        _ body: (PrivateDocker, PrivateNetwork) async throws -> Result
    ) async throws -> Result {
        try await withTemporaryDirectory { (directory: String) async throws -> Result in
            for part in ["a", "r", "e", "n"] {
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/\(part)",
                    withIntermediateDirectories: true
                )
            }
            return try await PrivateNetwork.with(in: "\(directory)/n") { network in
                let (good, bad) = (
                    PrivateRegistry.Place(network, .registry), PrivateRegistry.Place(network, .stranger)
                )
                return try await PrivateRegistry.with(in: "\(directory)/a", account: account, at: good) { allowed in
                    try await PrivateRegistry.with(in: "\(directory)/r", account: account, at: bad) { refused in
                        try await PrivateEngine.with(
                            in: "\(directory)/e",
                            policy: policy,
                            hasPlugin: hasPlugin,
                            network: network,
                            way: way,
                            engineSettings: engineSettings,
                            daemonSettings: daemonSettings
                        ) { engine in
                            try await body(PrivateDocker(engine: engine, allowed: allowed, refused: refused), network)
                        }
                    }
                }
            }
        }
    }

    /// A policy that allows some registries.
    ///
    /// - Parameters:
    ///   - version: its version.
    ///   - addresses: what it allows.
    /// - Returns: the document.
    public static func policy(version: Int, allowing addresses: [String]) -> String {
        let rules = addresses.map { #"{ "address": "\#($0)", "allowed": true }"# }.joined(separator: ", ")
        return """
            { "version": \(version), "organization": "acme", "contact": "platform@acme.test", "registries": [\(rules)] }
            """
    }

    /// Whether a text holds the sentence about a registry, word for word.
    ///
    /// - Parameters:
    ///   - text: the text.
    ///   - registry: the registry.
    ///   - version: the version of the policy.
    ///   - explanation: what else it says.
    /// - Returns: whether it does.
    public static func isRefusal(
        _ text: String,
        of registry: String,
        policy version: Int = 1,
        explaining explanation: String = ""
    ) -> Bool {
        let before = "Your organization has disallowed this registry: \(registry) (acme, policy \(version), "
        // A machine of an organization names the command that asks it.
        let advice = ["Ask platform@acme.test for access.", "Ask for access: docker ram request "]
        return advice.contains { holds(text, before, "). \(explanation)\($0)") }
    }

    /// Whether a text holds the sentence about a request that could not be inspected.
    ///
    /// - Parameter text: the text.
    /// - Returns: whether it does.
    public static func isNotInspected(_ text: String) -> Bool {
        guard let start = text.range(of: "This request could not be inspected: ") else { return false }
        return text[start.upperBound...].contains(" (acme, policy 1, ")
    }

    private static func holds(_ text: String, _ before: String, _ after: String) -> Bool {
        guard let start = text.range(of: before) else { return false }
        let rest = text[start.upperBound...]
        let id = rest.prefix(6)
        return id.utf8.count == 6 && id.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
            && rest.dropFirst(6).hasPrefix(after)
    }
}
