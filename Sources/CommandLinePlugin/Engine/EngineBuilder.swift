import ArgumentParser
import Glibc
import LocalInstallation
import RegistryAccess

/// `docker ram engine builder`: makes a buildx builder whose BuildKit goes through the egress proxy.
struct EngineBuilder: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "builder",
        abstract: "Create a buildx builder that goes through the egress proxy",
        discussion: """
            The builder runs BuildKit in a container of this machine's engine (buildx's docker-container driver) and \
            is told the egress proxy with the builders' own secret, so that its builds are decided by the same \
            policy as the engine's. Without buildx the command to run is printed.

            Example: docker ram engine builder acme --use
            Undo it: docker buildx rm acme
            """
    )

    @Argument(help: "Name of the builder")
    var name: String

    @Flag(name: .customLong("print"), help: "Print the buildx command, which holds the secret, and run nothing")
    var isPrinting = false

    @Flag(help: "Make it the builder that builds use")
    var use = false

    @Option(help: ArgumentHelp("BuildKit's own configuration, for example CAs of registries", valueName: "file"))
    var buildkitdConfig: String?

    @Option(help: ArgumentHelp("BuildKit's image, where the policy does not allow docker.io", valueName: "image"))
    var image: String?

    @OptionGroup var common: CommonOptions

    func validate() throws {
        // What buildx reads as a list of options.
        if let image, (try? ImageReference(image)) == nil {
            throw ValidationError("\"\(TerminalText.printable(image))\" is not the name of an image")
        }
        // As buildx has it (docker/buildx, `store/util.go`), which also keeps a name from being read as a flag.
        let bytes = Array(name.utf8)
        let isLetter = { (byte: UInt8) in (0x61...0x7A).contains(byte | 0x20) }
        let isFirst = bytes.first.map(isLetter) ?? false
        guard isFirst,
            bytes.allSatisfy({ isLetter($0) || (0x30...0x39).contains($0) || [0x2D, 0x2E, 0x5F].contains($0) })
        else {
            throw ValidationError("the name of a builder is a letter and then letters, digits, \"-\", \".\" and \"_\"")
        }
    }

    func run(in context: CommandContext) throws {
        let address = try EgressProxyAddress(context, settings: DaemonSettings(context.paths), isChecked: false)
        let proxy = BuilderProxy(secret: try secret(context), listen: address.text)
        let docker = DockerProgram(context)
        let builder = Builder(
            name: name,
            proxy: proxy,
            image: image,
            configuration: buildkitdConfig,
            isUsed: use,
            docker: docker.name
        )
        guard !isPrinting else {
            return context.show(BuilderResult(builder: builder, isCreated: false), as: common.format)
        }
        guard try hasBuildx(docker) else {
            context.show(BuilderResult(builder: builder, isCreated: false), as: common.format)
            return context.note("note: this docker has no buildx, so nothing was created; run the command where it has")
        }
        let result = try docker.run(builder.arguments, within: Self.patience)
        guard result.exitCode == 0 else {
            // buildx may repeat an option that it does not like.
            let words = result.errorWords.replacing(proxy.url.text, with: "\(proxy.url)")
            throw Failure("buildx did not create the builder \"\(name)\": \(words)")
        }
        context.show(BuilderResult(builder: builder, isCreated: true), as: common.format)
    }

    /// How long buildx may take, in milliseconds.
    private static let patience = 60_000

    private func hasBuildx(_ docker: DockerProgram) throws -> Bool {
        do throws(DockerProgram.Trouble) {
            return try docker.run(["buildx", "version"], within: Self.patience).exitCode == 0
        } catch {
            if case .notFound = error { return false }
            throw error
        }
    }

    /// The builders' secret; root makes it where it is missing and lets those read it who may use Docker.
    private func secret(_ context: CommandContext) throws -> ProxySecret {
        guard (try? Files.status(context.paths.stateDirectory)) != nil else {
            throw Failure(
                "docker-ramd is not installed on this machine: there is no \"\(context.paths.stateDirectory)\"",
                hints: ["install docker-ram for all users: sudo ./install.sh"]
            )
        }
        do throws(FileError) {
            guard geteuid() == 0 else { return try ProxySecret(context.paths, of: .builders) }
            let secret = try ProxySecret.readOrMake(context.paths, of: .builders)
            try ProxySecret.shareWithDockerUsers(context.paths)
            return secret
        } catch {
            guard error.isNotFound || error.isPermission else { throw error }
            throw Failure(
                "\(error)",
                hints: [
                    "once, so that whoever may use Docker can read it: sudo docker ram engine builder \(name) --print"
                ]
            )
        }
    }
}

/// A builder as buildx is asked for it.
private struct Builder {
    let name: String
    let proxy: BuilderProxy
    let image: String?
    let configuration: String?
    let isUsed: Bool
    let docker: String

    /// What stands behind `docker`: options that stand together, so that they can be shown on a line.
    private var groups: [[String]] {
        var groups = [["buildx", "create", "--name", name, "--driver", "docker-container"]]
        if let image { groups.append(["--driver-opt", "image=\(image)"]) }
        if proxy.needsHostNetwork { groups.append(["--driver-opt", "network=host"]) }
        for variable in BuilderContainer.environment(through: proxy.url.text) {
            groups.append(["--driver-opt", "env.\(variable.name)=\(variable.value)"])
        }
        if let configuration { groups.append(["--buildkitd-config", configuration]) }
        if isUsed { groups.append(["--use"]) }
        return groups
    }

    var arguments: [String] { groups.flatMap(\.self) }

    /// As a person writes it in a shell.
    var command: String {
        let lines = groups.map { $0.map(Self.quoted).joined(separator: " ") }
        return "\(Self.quoted(docker)) " + lines.joined(separator: " \\\n  ")
    }

    private static func quoted(_ word: String) -> String {
        let isPlain = word.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20) || "-._/:=@,+".utf8.contains(byte)
        }
        return isPlain && !word.isEmpty ? word : "'\(word.replacing("'", with: "'\\''"))'"
    }
}

private struct BuilderResult: CommandResult {
    let builder: Builder
    let isCreated: Bool

    private var address: String {
        // Behind the "@" of the user and the secret.
        String(builder.proxy.url.text.split(separator: "@").last ?? "")
    }

    func text(for context: CommandContext) -> String {
        guard isCreated else { return builder.command }
        let network =
            builder.proxy.needsHostNetwork
            ? "the host's, where the proxy is; RUN steps are in it too" : "Docker's default bridge"
        let rows = [
            ["proxy", "\(address), as \(ProxySecret.Holder.builders.user)"], ["network", network],
            ["build", "docker buildx build --builder \(builder.name) ."],
            ["undo", "docker buildx rm \(builder.name)"],
        ]
        return (["Created the builder \(builder.name)"] + TerminalText.table(rows, indentation: "  "))
            .map(TerminalText.printable).joined(separator: "\n")
    }

    var json: JSONValue {
        .object([
            JSONMember("name", .string(builder.name)),
            JSONMember("created", .bool(isCreated)),
            JSONMember("proxy", .string(address)),
            JSONMember("network", .string(builder.proxy.needsHostNetwork ? "host" : "default")),
            // It holds the secret, so only whoever has to run it gets it.
            JSONMember("command", isCreated ? .null : .texts([builder.docker] + builder.arguments)),
            JSONMember("undo", .texts([builder.docker, "buildx", "rm", builder.name])),
        ])
    }
}
