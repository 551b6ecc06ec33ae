// Command check-compose validates a Compose file against the Compose specification (the schema and the loader are
// compose-go's, the ones Docker Compose uses) and against the rules of this repository.
package main

import (
	"context"
	"fmt"
	"os"
	"regexp"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// A version down to the patch level, so that the tag does not move to the next release.
var exactTag = regexp.MustCompile(`:v?\d+\.\d+\.\d+(-[a-z0-9.]+)?$`)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: check-compose FILE")
		os.Exit(2)
	}
	problems, err := check(os.Args[1])
	if err != nil {
		problems = append(problems, err.Error())
	}
	for _, problem := range problems {
		fmt.Fprintf(os.Stderr, "%s: %s\n", os.Args[1], problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func check(path string) ([]string, error) {
	// Variables without a default must not stop the check: their values do not matter.
	environment := []string{"KAFKA_SASL_PASSWORD=checked", "HAPROXY_STATS_PASSWORD=checked"}
	options, err := cli.NewProjectOptions([]string{path}, cli.WithEnv(environment), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, name := range project.ServiceNames() {
		for _, problem := range brokenRules(project.Services[name]) {
			problems = append(problems, fmt.Sprintf("service %s: %s", name, problem))
		}
	}
	return problems, nil
}

func brokenRules(service types.ServiceConfig) []string {
	var problems []string
	if !exactTag.MatchString(service.Image) {
		problems = append(problems, fmt.Sprintf("image %q: expected a tag with an exact version", service.Image))
	}
	if len(service.Profiles) == 0 {
		problems = append(problems, "has no profile, so every `up` without names would start it")
	}
	if service.HealthCheck == nil || len(service.HealthCheck.Test) < 2 {
		problems = append(problems, "has no health check")
	}
	if service.MemLimit == 0 {
		problems = append(problems, "has no mem_limit")
	}
	for _, port := range service.Ports {
		if port.HostIP != "127.0.0.1" {
			problems = append(problems, fmt.Sprintf("port %s is published on %q: expected 127.0.0.1", port.Published, port.HostIP))
		}
	}
	return problems
}
