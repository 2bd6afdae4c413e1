import Glibc
import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let otherEngineChecks = [
        MachineCheck("docker-endpoint", "Engine that docker talks to") { facts in
            let endpoint = facts.endpoint
            if facts.engine.isRootless {
                return facts.leak(
                    "docker talks to a rootless engine, which has settings of its own and does not ask docker-ramd",
                    hint: "use the machine's engine: docker context use default"
                )
            }
            guard !endpoint.isOfMachine(facts.paths), let source = endpoint.source else {
                return .ok("it is the machine's own")
            }
            let host = endpoint.host.map { ": \($0)" } ?? ""
            return .warning(
                "\(source) leads docker to another engine than the machine's own\(host)",
                hint: "what is enforced there, that machine's docker-ramd decides"
            )
        },
        MachineCheck("docker-contexts", "Contexts of docker") { facts in
            let others = EngineEndpoint.contexts(facts.context).filter { context in
                !EngineEndpoint.isOfMachine(context.host, facts.paths)
            }
            let outcomes = others.map { context in
                Outcome.warning(
                    "context \"\(context.name)\" leads to another engine: \(context.host)",
                    hint: "run: docker context rm \(context.name)"
                )
            }
            return .all(outcomes, otherwise: .ok("none leads to another engine"))
        },
        MachineCheck("other-engines", "Other dockerd processes") { facts in
            let all = EngineProcess.all(facts.paths)
            // Without its own note of its process, the first is taken for the machine's.
            let machines = (facts.process ?? all.first)?.id
            let outcomes = all.filter { $0.id != machines }.map { process in
                let user = process.owner.map { $0 == 0 ? "root" : "user \($0)" } ?? "somebody"
                return facts.leak(
                    "process \(process.id) of \(user) is another dockerd, in a container or beside the machine's own",
                    hint: "stop it, or give it the authorization plugin and the proxy too"
                )
            }
            return .all(outcomes, otherwise: .ok("there is none"))
        },
        MachineCheck("other-sockets", "Sockets of other engines") { facts in
            var outcomes: [Outcome] = []
            for user in (try? Files.names(in: "\(facts.paths.prefix)/run/user")) ?? [] {
                let directory = "\(facts.paths.prefix)/run/user/\(user)"
                let rootless = [("docker.sock", "a rootless dockerd"), ("podman/podman.sock", "podman")]
                for (name, what) in rootless where MachineFacts.isSocket("\(directory)/\(name)") {
                    outcomes.append(
                        facts.leak(
                            "\"\(directory)/\(name)\" is \(what) of user \(user), which does not ask docker-ramd",
                            hint: "stop it, or see that the network lets it reach nothing"
                        )
                    )
                }
            }
            let podman = "\(facts.paths.prefix)/run/podman/podman.sock"
            if MachineFacts.isSocket(podman) {
                outcomes.append(facts.leak("\"\(podman)\" is podman, which does not ask docker-ramd", hint: "stop it"))
            }
            let containerd = "\(facts.paths.prefix)/run/containerd/containerd.sock"
            if MachineFacts.isSocket(containerd), let status = try? Files.status(containerd),
                status.owner != 0 && facts.paths.root == "/" || status.mode & S_IRWXO & S_IWOTH != 0
                    || status.group != 0 && status.mode & S_IWGRP != 0
            {
                outcomes.append(
                    facts.leak(
                        "\"\(containerd)\" is open to others than root, and containerd does not ask docker-ramd",
                        hint: "close it to them, as root: chmod 660 and chown root:root"
                    )
                )
            }
            return .all(outcomes, otherwise: .ok("none that can be seen"))
        },
    ]
}

extension MachineFacts {
    fileprivate static func isSocket(_ path: String) -> Bool {
        (try? Files.status(path)).map { $0.mode & S_IFMT == S_IFSOCK } ?? false
    }
}
