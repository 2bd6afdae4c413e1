import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram check IMAGE...`: what the policy says; with `--host`, what the egress proxy lets pass.
struct Check: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say whether images may be pulled, pushed or logged in for",
        discussion: """
            Exits with 3 if any of them is denied. With --action login the arguments are registries, with --host hosts \
            that the egress proxy is asked for.

            Example: docker ram check --explain ghcr.io/acme/api:1.2
            """
    )

    @Argument(help: "An image, for example ghcr.io/acme/api:1.2")
    var image: [String]

    @Option(help: ArgumentHelp("What is wanted", valueName: "string"))
    var action = WantedAction.pull

    @Flag(help: "Say which rule decides, what every enforcement point does and which hosts are contacted")
    var explain = false

    @Flag(help: "Take the arguments for hosts, like cdn.quay.io or r.test:5000")
    var host = false

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !host || !explain && action == .pull else {
            throw ValidationError("--host says all there is to say; it goes without --explain and --action")
        }
    }

    func run(in context: CommandContext) throws {
        let policy = context.policyInForce
        guard !host else { return try checkHosts(policy, context) }
        let surroundings = explain ? CheckResult.Surroundings(of: context) : nil
        var results: [CheckResult] = []
        var faults: [Failure] = []
        for name in image {
            do throws(Failure) {
                let (request, reference) = try request(for: name, context)
                results.append(CheckResult(name: name, request, reference, policy, surroundings))
            } catch {
                faults.append(error)
            }
        }
        context.show(CheckResults(results: results), as: common.format)
        try finish(faults, results.map(\.verdict), context)
    }

    private func checkHosts(_ policy: PolicyInForce, _ context: CommandContext) throws {
        let servers = Enrollment.read(context.paths).enrollment?.servers ?? []
        var checks: [HostCheck] = []
        var faults: [Failure] = []
        for name in image {
            do throws(Failure) {
                checks.append(try HostCheck(name, policy, servers: servers))
            } catch {
                faults.append(error)
            }
        }
        context.show(HostChecks(checks: checks), as: common.format)
        try finish(faults, checks.map(\.verdict), context)
    }

    private func finish(_ faults: [Failure], _ verdicts: [Verdict], _ context: CommandContext) throws {
        for fault in faults.dropLast() { fault.print(to: context.errors) }
        if let fault = faults.last { throw fault }
        if verdicts.contains(where: { $0.outcome == .deny }) { throw Denied() }
    }

    private func request(
        for name: String,
        _ context: CommandContext
    ) throws(Failure) -> (AccessRequest, ImageReference?) {
        if action == .login {
            do throws(InvalidRegistryAddress) {
                return (AccessRequest(.login, try RegistryAddress(serverURL: name)), nil)
            } catch {
                throw Failure("\"\(name)\" is not a registry: \(error)", hints: ["write host[:port], like ghcr.io"])
            }
        }
        do throws(InvalidImageReference) {
            let reference = try ImageReference(name)
            if !name.contains("/"), name.contains("."), !name.contains("@") {
                context.note("note: \"\(name)\" names an image on Docker Hub; for a registry use --action login")
            }
            return (AccessRequest(action.action, reference), reference)
        } catch {
            throw Failure("\"\(name)\" is not an image: \(error)", hints: ["write it as for docker pull"])
        }
    }
}

/// The actions as words on the command line.
enum WantedAction: String, ExpressibleByArgument, CaseIterable {
    case pull
    case push
    case login

    var action: RegistryAction {
        switch self {
        case .pull: .pull
        case .push: .push
        case .login: .login
        }
    }
}
