import Foundation
import Testing

@testable import CommandLinePlugin

struct SetupCommandTests {
    @Test
    func `without its helper nothing is changed`() throws {
        try Machine.with { (machine) throws in
            let outcome = machine.run(["setup"])
            #expect(outcome.code == 1)
            #expect(
                outcome.errors.hasPrefix("docker ram: docker-credential-ram is neither on PATH nor beside docker-ram")
            )
            #expect(try FileManager.default.contentsOfDirectory(atPath: machine.config) == [])
        }
    }

    @Test
    func `a store that cannot be used is said at once`() throws {
        try Machine.with { (machine) throws in
            let script = "#!/bin/sh\necho 'Cannot autolaunch D-Bus without X11 $DISPLAY'; echo 'hint: x'; exit 1\n"
            try machine.write(script, "bin/docker-credential-ram", mode: 0o755)
            try machine.write(#"{"auths":{"r.test":{"auth":"YTpi"}}}"#, "config/config.json")
            let outcome = machine.run(["setup"])
            #expect(outcome.code == 0)
            #expect(outcome.errors.contains("\"r.test\": Cannot autolaunch D-Bus without X11 $DISPLAY\n"))
            #expect(outcome.errors.contains("the store cannot be used from here: Cannot autolaunch D-Bus"))
            #expect(try machine.read("config/config.json").contains("YTpi"))
        }
    }

    @Test
    func `a helper that only we can find is mentioned`() throws {
        try Machine.with { (machine) throws in
            try machine.installHelper()
            let outcome = machine.run(["setup"], extra: ["PATH": "/nonexistent"])
            #expect(outcome.errors.contains("docker-credential-ram is not on PATH, where Docker looks for it"))
        }
    }

    @Test
    func `without a home there is nothing to set up`() throws {
        try Machine.with { (machine) throws in
            let outcome = machine.run(["setup"], extra: ["HOME": "", "DOCKER_CONFIG": ""])
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains("set HOME or DOCKER_CONFIG"))
        }
    }

    @Test
    func `a directory in the place of the file is called one`() throws {
        try Machine.with { (machine) throws in
            try machine.installHelper()
            try FileManager.default.createDirectory(
                atPath: "\(machine.config)/config.json",
                withIntermediateDirectories: false
            )
            let outcome = machine.run(["setup"])
            #expect(outcome.code == 1)
            #expect(outcome.errors.hasSuffix("config.json\": is a directory\n"))
        }
    }

    @Test(.enabled(if: geteuid() != 0, "root may write everywhere"))
    func `whose the files have to be is said`() throws {
        try Machine.with { (machine) throws in
            try machine.installHelper()
            #expect(chmod(machine.config, 0o555) == 0)
            defer { chmod(machine.config, 0o755) }
            let outcome = machine.run(["setup"])
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains("hint: what is in it has to be yours and writable: sudo chown -R "))
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root can be somebody else"))
    func `root leaves other people's homes alone`() throws {
        try Machine.with { (machine) throws in
            try machine.installHelper()
            #expect(chown(machine.config, 12345, 12345) == 0)
            let outcome = machine.run(["setup"])
            #expect(outcome.code == 1)
            #expect(outcome.errors.contains("belongs to user 12345, and this is root"))
            #expect(try FileManager.default.contentsOfDirectory(atPath: machine.config) == [])
        }
    }
}
