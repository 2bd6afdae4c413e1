import Glibc
import LocalInstallation
import RegistryAccess

/// docker-credential-ram as another program (docker-credential-helpers, `client/client.go`).
struct HelperProgram: Sendable {
    private let path: String?
    private let environment: [String: String]
    private let policy: PolicyInForce
    /// Whether Docker finds it too.
    let isOnPath: Bool

    var isFound: Bool { path != nil }

    /// A keyring may ask the person for its password first.
    private static let patience = 150_000

    init(context: CommandContext, configDirectory: String) {
        let name = "docker-credential-ram"
        let beside = "\(Files.directory(of: context.executable))/\(name)"
        let onPath = ChildProcess.find(name, environment: context.environment)
        isOnPath = onPath != nil
        path = access(beside, X_OK) == 0 ? beside : onPath
        var environment = context.environment
        environment["DOCKER_CONFIG"] = configDirectory
        environment["DOCKER_RAM_ROOT"] = context.paths.root
        self.environment = environment
        policy = context.policyInForce
    }

    /// Why the helper did not do what it was asked, in its own words.
    struct Refused: Error, CustomStringConvertible {
        let description: String

        /// - Parameter words: what the helper said; hints for other commands stand on further lines.
        init(_ words: String) {
            description = words.split(whereSeparator: \.isNewline).first.map(String.init) ?? "it gave no reason"
        }
    }

    /// Why the store cannot be used now, if it cannot.
    var storeFault: String? {
        do {
            let result = try call("list", "unused")
            return result.exitCode == 0 ? nil : Refused(result.words).description
        } catch {
            return "\(error)"
        }
    }

    var stores: CredentialStores {
        CredentialStores(
            holdsCredentials: { holdsCredentials($0) },
            fetch: { try fetch($0) },
            store: { try store($0, $1, $2) },
            erase: { try erase($0) },
            isDisallowed: { isDisallowed($0) }
        )
    }

    private func call(_ action: String, _ input: String) throws -> ChildProcess.Result {
        guard let path else { throw Refused("docker-credential-ram is not installed") }
        let process = ChildProcess(path: path, arguments: [action], environment: environment)
        do throws(ChildProcess.Trouble) {
            return try process.run(input: Array(input.utf8), within: Self.patience)
        } catch {
            throw Refused(error == .timeout ? "the store did not answer" : "\"\(path)\" does not start")
        }
    }

    private func fetch(_ registry: String) throws -> CredentialStores.Credential? {
        let result = try call("get", registry)
        guard result.exitCode == 0 else {
            if result.words == "credentials not found in native keychain" { return nil }
            throw Refused(result.words)
        }
        guard let json = try? StrictJSON.parse(result.output), let username = json.value(named: "Username")?.text,
            let secret = json.value(named: "Secret")?.text
        else { throw Refused("docker-credential-ram did not answer as a helper does") }
        return (username, Secret(secret))
    }

    private func store(_ registry: String, _ username: String, _ secret: Secret) throws {
        let input = JSONValue.object([
            JSONMember("ServerURL", .string(registry)), JSONMember("Username", .string(username)),
            JSONMember("Secret", .string(secret.text)),
        ])
        let result = try call("store", input.text())
        guard result.exitCode == 0 else { throw Refused(result.words) }
    }

    private func isDisallowed(_ registry: String) -> Bool {
        guard let address = try? RegistryAddress(serverURL: registry) else { return true }
        return !policy.verdict(on: AccessRequest(.login, address)).isAllowed
    }

    private func erase(_ registry: String) throws {
        let result = try call("erase", registry)
        guard result.exitCode == 0 else { throw Refused(result.words) }
    }

    private func holdsCredentials(_ name: String) -> Bool {
        let helper = ChildProcess.find("docker-credential-\(name)", environment: environment)
        // Docker takes pass by default only where pass itself is installed.
        guard let helper, ChildProcess.find(name, environment: environment) != nil else { return false }
        let process = ChildProcess(path: helper, arguments: ["list"], environment: environment)
        guard let result = try? process.run(input: Array("unused".utf8), within: 5000), result.exitCode == 0,
            let members = try? StrictJSON.parse(result.output).members
        else { return false }
        return !members.isEmpty
    }
}
