// Records the outcome for each manifest of cases.json: decoded as kubectl and the API server (strict field validation)
// do, defaulted and validated.
//
//	python3 gen.py && go run . < cases.json > golden.json
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	"k8s.io/kubernetes/pkg/apis/autoscaling/install"
	"k8s.io/kubernetes/pkg/apis/autoscaling/validation"
)

type result struct {
	Refused []string    `json:"refused,omitempty"`
	Stage   string      `json:"stage,omitempty"`
	Spec    interface{} `json:"spec,omitempty"`
}

func check(text []byte, zero bool) result {
	d := utilyaml.NewYAMLOrJSONDecoder(bufio.NewReader(bytes.NewReader(text)), 4096)
	var ext runtime.RawExtension
	if err := d.Decode(&ext); err != nil && err != io.EOF {
		return result{Stage: "yaml", Refused: []string{err.Error()}}
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	obj, _, err := codecs.UniversalDeserializer().Decode(ext.Raw, nil, nil)
	if err != nil {
		return result{Stage: "decode", Refused: []string{err.Error()}}
	}
	scheme.Default(obj)
	internal, err := scheme.ConvertToVersion(obj, schema.GroupVersion{Group: "autoscaling", Version: runtime.APIVersionInternal})
	if err != nil {
		return result{Stage: "convert", Refused: []string{err.Error()}}
	}
	hpa, ok := internal.(*autoscaling.HorizontalPodAutoscaler)
	if !ok {
		return result{Stage: "kind", Refused: []string{fmt.Sprintf("%T", internal)}}
	}
	if hpa.Namespace == "" {
		hpa.Namespace = metav1.NamespaceDefault
	}
	// The registry does this before it validates.
	if hpa.Name == "" && hpa.GenerateName != "" {
		hpa.Name = hpa.GenerateName + "abcde"
	}
	low := int32(1)
	if zero {
		low = 0
	}
	opts := validation.HorizontalPodAutoscalerSpecValidationOptions{
		MinReplicasLowerBound:           low,
		ScaleTargetRefValidationOptions: validation.CrossVersionObjectReferenceValidationOptions{AllowEmptyAPIGroup: false, AllowInvalidAPIVersion: false},
		ObjectMetricsValidationOptions:  validation.CrossVersionObjectReferenceValidationOptions{AllowEmptyAPIGroup: true, AllowInvalidAPIVersion: false},
	}
	var errs field.ErrorList = validation.ValidateHorizontalPodAutoscaler(hpa, opts)
	if len(errs) > 0 {
		r := result{Stage: "validate"}
		for _, e := range errs {
			r.Refused = append(r.Refused, e.Error())
		}
		return r
	}
	v2, err := scheme.ConvertToVersion(hpa, schema.GroupVersion{Group: "autoscaling", Version: "v2"})
	if err != nil {
		return result{Stage: "v2", Refused: []string{err.Error()}}
	}
	b, _ := json.Marshal(v2)
	var m map[string]interface{}
	json.Unmarshal(b, &m)
	return result{Spec: m["spec"]}
}

func main() {
	var cases []struct {
		Text string `json:"text"`
		Zero bool   `json:"zero"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	out := []result{}
	for _, c := range cases {
		out = append(out, check([]byte(c.Text), c.Zero))
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", " ")
	e.Encode(out)
}
