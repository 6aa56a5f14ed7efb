// The same two rules by hand: net/http, encoding/json, and of the objects only what the rules read.
// The strongest that Go offers without a parser of its own.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

type review[T any] struct {
	Request *struct {
		UID       string `json:"uid"`
		Operation string `json:"operation"`
		DryRun    *bool  `json:"dryRun"`
		Object    T      `json:"object"`
		OldObject T      `json:"oldObject"`
	} `json:"request"`
}

type template struct {
	Metadata json.RawMessage `json:"metadata"`
	Spec     struct {
		Template struct {
			Metadata json.RawMessage `json:"metadata"`
			Spec     json.RawMessage `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

type controlPlane struct {
	Spec struct {
		Version string `json:"version"`
	} `json:"spec"`
	Status struct {
		Versions []struct {
			Version string `json:"version"`
		} `json:"versions"`
	} `json:"status"`
}

type status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type response struct {
	UID     string  `json:"uid"`
	Allowed bool    `json:"allowed"`
	Status  *status `json:"status,omitempty"`
}

type answer struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Response   response `json:"response"`
}

func same(old, new json.RawMessage) bool {
	if bytes.Equal(old, new) {
		return true
	}
	var a, b any
	return json.Unmarshal(old, &a) == nil && json.Unmarshal(new, &b) == nil && reflect.DeepEqual(a, b)
}

func judgeTemplate(body []byte) (string, *status, error) {
	var in review[template]
	if err := json.Unmarshal(body, &in); err != nil || in.Request == nil {
		return "", nil, fmt.Errorf("no review: %w", err)
	}
	r := in.Request
	old, new := &r.OldObject.Spec.Template, &r.Object.Spec.Template
	if same(old.Spec, new.Spec) {
		return r.UID, nil, nil
	}
	if r.DryRun != nil && *r.DryRun {
		var metadata struct {
			Annotations map[string]string `json:"annotations"`
		}
		if err := json.Unmarshal(r.Object.Metadata, &metadata); err != nil {
			return "", nil, err
		}
		if _, ok := metadata.Annotations["topology.cluster.x-k8s.io/dry-run"]; ok {
			return r.UID, nil, nil
		}
	}
	return r.UID, &status{422, "Invalid", "spec.template.spec is immutable"}, nil
}

func minor(version string) (int, error) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) != 3 {
		return 0, fmt.Errorf("%q is no version", version)
	}
	return strconv.Atoi(parts[1])
}

func judgeControlPlane(body []byte) (string, *status, error) {
	var in review[controlPlane]
	if err := json.Unmarshal(body, &in); err != nil || in.Request == nil {
		return "", nil, fmt.Errorf("no review: %w", err)
	}
	r := in.Request
	old, err := minor(r.OldObject.Spec.Version)
	if err != nil {
		return "", nil, err
	}
	new, err := minor(r.Object.Spec.Version)
	if err != nil {
		return "", nil, err
	}
	for _, runs := range r.OldObject.Status.Versions {
		if runs, err := minor(runs.Version); err == nil && (new < runs || new > runs+1) {
			return r.UID, &status{422, "Invalid", "spec.version skips or goes back"}, nil
		}
	}
	if new < old || new > old+1 {
		return r.UID, &status{422, "Invalid", "spec.version skips or goes back"}, nil
	}
	return r.UID, nil, nil
}

func handle(judge func([]byte) (string, *status, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		if r.ContentLength > 0 {
			body.Grow(int(r.ContentLength) + bytes.MinRead)
		}
		if _, err := body.ReadFrom(io.LimitReader(r.Body, 7<<20)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		uid, refusal, err := judge(body.Bytes())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := json.Marshal(answer{"admission.k8s.io/v1", "AdmissionReview", response{uid, refusal == nil, refusal}})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
		_, _ = w.Write(out)
	}
}

func main() {
	directory := os.Args[1]
	certificate, err := tls.LoadX509KeyPair(filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key"))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/validate/machine-template", handle(judgeTemplate))
	http.HandleFunc("/validate/control-plane", handle(judgeControlPlane))
	server := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}}
	fmt.Println(listener.Addr())
	log.Fatal(server.ServeTLS(listener, "", ""))
}
