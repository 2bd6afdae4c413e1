import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// install.sh where something went wrong before or stands in the way.
    @Suite(.serialized)
    struct InstallerTroubleTests {
        private let installer = "\(Programs.package)/install.sh"

        private func programs() throws -> String {
            let path = try Programs.path("docker-ramd")
            for name in ["docker-ram", "docker-credential-ram"] { _ = try Programs.path(name) }
            return URL(fileURLWithPath: path).deletingLastPathComponent().path
        }

        /// A directory into which everything was installed; it has no accounts.
        private func withInstalledRoot(_ body: (String) async throws -> Void) async throws {
            try await withTemporaryDirectory { (root: String) async throws in
                try await runProgram([installer, "--root", root, "--prebuilt", try programs()]).expecting(0)
                try await body(root)
            }
        }

        @Test("an upgrade that was cut off is finished by the next run")
        func cutOff() async throws {
            try await withInstalledRoot { root in
                // What is left by a run that ends between writing the program down and putting it in its place.
                try await runProgram([
                    "sh", "-euc",
                    """
                    cd "$1"
                    mkdir new
                    cp "$2/docker-ram" "$2/docker-credential-ram" "$2/docker-ramd" new
                    echo newer >>new/docker-ramd
                    cp new/docker-ramd usr/local/libexec/docker-ramd.new
                    sum=$(sha256sum <new/docker-ramd | cut -d ' ' -f 1)
                    record=var/lib/docker-ram-undo/installed
                    awk -F '\\t' -v OFS='\\t' -v s="$sum" '$2 ~ /docker-ramd$/ { $3 = s } { print }' $record >changed
                    mv changed $record
                    """, "sh", root, try programs(),
                ]).expecting(0)
                let ended = try await runProgram([installer, "--root", root, "--prebuilt", "\(root)/new"]).expecting(0)
                #expect(!ended.errors.contains("was changed since"), "\(ended)")
                let place = "\(root)/usr/local/libexec/docker-ramd"
                #expect(FileManager.default.contentsEqual(atPath: place, andPath: "\(root)/new/docker-ramd"))
                #expect(!FileManager.default.fileExists(atPath: "\(place).new"))
            }
        }

        @Test("nothing is removed while Docker's settings name a plugin that cannot be taken out of them")
        func missingProgram() async throws {
            try await withInstalledRoot { root in
                try FileManager.default.removeItem(atPath: "\(root)/usr/local/lib/docker/cli-plugins/docker-ram")
                let ended = try await runProgram([installer, "--root", root, "--uninstall"])
                #expect(ended.status == 1)
                #expect(ended.errors.contains("nothing was removed"), "\(ended)")
                #expect(FileManager.default.fileExists(atPath: "\(root)/usr/local/libexec/docker-ramd"))

                try await runProgram([installer, "--root", root, "--prebuilt", try programs()]).expecting(0)
                try await runProgram([installer, "--root", root, "--uninstall"]).expecting(0)
                #expect(try FileManager.default.contentsOfDirectory(atPath: root) == [])
            }
        }

        @Test("a link does not lead out of the root")
        func linkOut() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                let files = FileManager.default
                for name in ["root/usr", "machine"] {
                    try files.createDirectory(atPath: "\(directory)/\(name)", withIntermediateDirectories: true)
                }
                try files.createSymbolicLink(
                    atPath: "\(directory)/root/usr/local",
                    withDestinationPath: "\(directory)/machine"
                )
                let arguments = ["--root", "\(directory)/root", "--prebuilt", try programs()]
                let ended = try await runProgram([installer] + arguments)
                #expect(ended.status == 1)
                #expect(ended.errors.contains("is a link that leads out of"), "\(ended)")
                #expect(try files.contentsOfDirectory(atPath: "\(directory)/machine") == [])
            }
        }

        @Test("credentials come back where PATH does not name the helper, in a home with a space in its name")
        func credentialsBack() async throws {
            try await withTemporaryDirectory { (directory: String) async throws in
                let home = "\(directory)/ho me"
                let config = #"{"auths":{"r.test":{"auth":"YTpi"}}}"#
                let helper = """
                    #!/bin/sh
                    case $1 in
                    store) cat >"$HOME/kept" ;;
                    get) cat "$HOME/kept" ;;
                    erase) rm "$HOME/kept" ;;
                    list) echo '{}' ;;
                    esac

                    """
                for (name, text) in [
                    (".docker/config.json", config), (".docker/ram.json", #"{"store":"fake"}"#),
                    ("bin/docker-credential-fake", helper),
                ] {
                    let file = URL(fileURLWithPath: "\(home)/\(name)")
                    let above = file.deletingLastPathComponent()
                    try FileManager.default.createDirectory(at: above, withIntermediateDirectories: true)
                    try text.write(to: file, atomically: true, encoding: .utf8)
                }
                try await runProgram(["chmod", "+x", "\(home)/bin/docker-credential-fake"]).expecting(0)
                let variables = [
                    "HOME": home, "XDG_DATA_HOME": "", "DOCKER_CONFIG": "", "DOCKER_RAM_ROOT": "\(directory)/none",
                    "PATH": "\(home)/bin:/usr/bin:/bin",
                ]
                func settings() throws -> String {
                    try String(contentsOfFile: "\(home)/.docker/config.json", encoding: .utf8)
                }
                let install = [installer, "--user", "--prebuilt", try programs()]
                try await runProgram(install, environment: variables).expecting(0)
                #expect(try !settings().contains("YTpi"))
                // Without the program nobody could take the helper out of Docker's settings.
                try FileManager.default.removeItem(atPath: "\(home)/.docker/cli-plugins/docker-ram")
                let ended = try await runProgram([installer, "--user", "--uninstall"], environment: variables)
                #expect(ended.status == 1 && ended.errors.contains("nothing was removed"), "\(ended)")
                #expect(FileManager.default.fileExists(atPath: "\(home)/.local/bin/docker-credential-ram"))
                try await runProgram(install, environment: variables).expecting(0)
                try await runProgram([installer, "--user", "--uninstall"], environment: variables).expecting(0)
                #expect(try settings() == config)
            }
        }

        @Test("root installs nothing for one developer in somebody else's home")
        func foreignHome() async throws {
            try await withTemporaryDirectory { (home: String) async throws in
                #expect(chown(home, 12345, 12345) == 0)
                let install = [installer, "--user", "--prebuilt", try programs()]
                let ended = try await runProgram(install, environment: ["HOME": home, "XDG_DATA_HOME": ""])
                #expect(ended.status == 1)
                #expect(ended.errors.contains("belongs to somebody else"), "\(ended)")
                #expect(try FileManager.default.contentsOfDirectory(atPath: home) == [])
            }
        }
    }
}
